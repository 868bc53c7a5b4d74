/*
 * Where things are in the enclave's range of addresses. The image begins with one thread; the others come and go in
 * slots: a hole as guard, the stack, the TCS. Their save areas lie in the heap, one page each.
 *
 * Two pages a thread, so that 255 of them are fewer than 512: see "VA pages" in README.md.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#define PAGE 4096UL
#define ELRANGE_BYTES 0x800000UL
#define HEAP_PAGES 503

#define MAX_THREADS 256
#define SLOTS_OFFSET 0x400000UL
#define SLOT_BYTES (3 * PAGE)
#define SLOT_PAGES_BYTES (2 * PAGE) /* those that come and go */

/* Slot 0 is the thread that the image begins with, and no slot. */
#define STACK_OFFSET(slot) (SLOTS_OFFSET + ((slot)-1) * SLOT_BYTES + PAGE)
#define TCS_OFFSET(slot) (STACK_OFFSET(slot) + PAGE)

#endif
