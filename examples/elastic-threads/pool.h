/* The enclave's threads that nobody uses: whoever wants to enter takes one, and waits while there is none. */
#ifndef POOL_H
#define POOL_H

void pool_put(int slot);
/* The one that has been there longest, so that all have work. */
int pool_take(void);
/* The same, before all others: for whoever makes more or fewer of them. With `slot` < 0 any. */
int pool_take_first(int slot);

#endif
