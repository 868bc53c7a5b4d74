/* Placeholder until the decoder lands. */
#include "stub.h"
bool abort_page(struct slot *slot, ucontext_t *uc, u64 address)
{
	(void)slot, (void)uc, (void)address;
	return false;
}
