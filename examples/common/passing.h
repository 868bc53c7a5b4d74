/* Descriptors that travel from one process to another, over a Unix socket. Each function ends the program when it fails. */
#ifndef PASSING_H
#define PASSING_H

#include <stddef.h>

/* A listening socket at `path`, in the place of one that nobody listens on any more. */
int listen_at(const char *path);
/* Waits some seconds for somebody to listen there. */
int connect_to(const char *path);

void send_descriptors(int socket, const void *message, size_t length, const int *descriptors, int count);
void receive_descriptors(int socket, void *message, size_t length, int *descriptors, int count);

#endif
