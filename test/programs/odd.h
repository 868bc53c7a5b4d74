/* What the programs for odd targets share: the enclave, its device, and checks. */
#ifndef ODD_H
#define ODD_H

#include "loader.h"
#include "worker.h"

extern int failures, checks;
void check_at(const char *file, int line, const char *text, int condition);
#define check(condition) check_at(__FILE__, __LINE__, #condition, !!(condition))

extern struct enclave enclave;
extern int device; /* its file: the example's loader would have closed it */
extern uint64_t heap;

void load(void);
/* Another one, whose files have this name: build/NAME.elf. */
void load_enclave(const char *name);
/* A variant of the worker. */
void load_worker(const char *name);
/* One that another process has loaded. */
void use_enclave(struct enclave other, uint64_t its_heap);
/* One call on the TCS of `thread`. */
struct sgx_enclave_run run_work(struct work *work, int thread);
/* The same, again and again while another thread or process is on that TCS; whether the answer is right. */
int compute_once(uint64_t number, int thread);
/* Memory that fork shares. */
void *shared_page(void);

struct scenario {
	const char *name;
	void (*run)(void);
};
/* Runs the scenarios named in the arguments, or all; the result of main. */
int run_scenarios(const struct scenario *scenarios, int count, char **names);

#endif
