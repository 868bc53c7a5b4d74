/*
 * The state save area: what an asynchronous exit writes there and ERESUME reads back. The floating-point state is in
 * the signal frame in XSAVE's standard format, which is also the SSA's; so components are copied where they lie.
 *
 * Spec: SDM "State Save Area (SSA) Frame", "Asynchronous Enclave Exit", "ERESUME".
 */
#include "enclave.h"

#define XSAVE_HEADER 512
#define XSAVE_LEGACY_END 464            /* bytes 464 to 511 are software's */
#define LEGACY_FCW 0
#define LEGACY_MXCSR 24
#define MXCSR_MASK_OFFSET 28
#define MXCSR_AFTER_AEX 0x1fb0          /* SDM "Processor State Saved on AEX": synthetic state */

static u64 frame_base(const struct entry *entry, u32 frame)
{
	return entry->alias + entry->record.ossa + frame * entry->record.ssa_frame_size;
}

struct gprsgx *ssa_gpr(const struct entry *entry, u32 frame)
{
	return (struct gprsgx *)(frame_base(entry, frame) + entry->record.ssa_frame_size - SIZEOF_GPRSGX);
}

/* EXITINFO for an exception; 0 for the ones that the SDM does not report. */
u32 exit_info_of(const struct entry *entry, u32 vector)
{
	switch (vector) {
	case VECTOR_GP:
	case VECTOR_PF:
		if (!(entry->record.misc_select & MISCSELECT_EXINFO))
			return 0;
		break;
	case VECTOR_DE: case VECTOR_DB: case VECTOR_BP: case VECTOR_BR: case VECTOR_UD: case VECTOR_MF: case VECTOR_AC:
	case VECTOR_XM:
		break;
	default:
		return 0;
	}
	u32 type = vector == VECTOR_BP ? EXITINFO_TYPE_SOFTWARE : EXITINFO_TYPE_HARDWARE;
	return vector | type << EXITINFO_TYPE_SHIFT | EXITINFO_VALID;
}

/* Components of `from` that XFRM allows, into `to`; both in the standard format. */
static void copy_components(char *to, const char *from, u64 which)
{
	for (u32 i = 2; i < 63; i++)
		if (which >> i & 1 && xsave_components[i].size)
			memcpy(to + xsave_components[i].offset, from + xsave_components[i].offset, xsave_components[i].size);
}

static void save_xsave(const struct entry *entry, ucontext_t *uc, u32 frame)
{
	u64 size, *image = frame_xstate(uc, &size), xfrm = entry->record.xfrm;
	char *to = (char *)frame_base(entry, frame);
	u64 *header = (u64 *)(to + XSAVE_HEADER);

	if (!image)
		return;
	u64 in_use = image[XSAVE_HEADER / 8] & xfrm;
	memcpy(to, image, XSAVE_LEGACY_END);
	memset(to + XSAVE_LEGACY_END, 0, XSAVE_HEADER - XSAVE_LEGACY_END);
	memset(header, 0, 64);
	header[0] = in_use;
	copy_components(to, (char *)image, in_use);
}

/* After AEX the processor's state is synthetic: everything initial, the keys excepted. */
static void forget_xsave(ucontext_t *uc, u32 exit_info)
{
	u64 size, *image = frame_xstate(uc, &size);
	u32 vector = exit_info & EXITINFO_VECTOR_MASK;
	char *legacy = (char *)image;

	if (!image)
		return;
	image[XSAVE_HEADER / 8] &= 1UL << 9;
	*(u32 *)(legacy + LEGACY_MXCSR) = MXCSR_AFTER_AEX;
	if (!(exit_info & EXITINFO_VALID) || (vector != VECTOR_MF && vector != VECTOR_XM))
		return;
	/* A floating-point exception leaves a state that shows one. */
	memset(legacy, 0, LEGACY_MXCSR);
	*(u16 *)(legacy + LEGACY_FCW) = vector == VECTOR_MF ? 0x37e : 0x37f;
	*(u16 *)(legacy + 2) = vector == VECTOR_MF ? 0x8081 : 0;
	*(u32 *)(legacy + LEGACY_MXCSR) = vector == VECTOR_XM ? 0x1f01 : MXCSR_AFTER_AEX;
	image[XSAVE_HEADER / 8] |= 3;
}

void save_to_ssa(struct slot *slot, ucontext_t *uc, u32 exit_info, u32 error, u64 address)
{
	struct sigcontext_64 *regs = registers(uc);
	const struct entry *entry = slot->entry;
	u32 cssa = slot->tcs->cssa;
	struct gprsgx *gpr = ssa_gpr(entry, cssa);
	bool lost = has_stand_ins(entry);
	u64 ursp = lost ? slot->outside_sp : gpr->ursp, urbp = lost ? slot->outside_bp : gpr->urbp;

	save_xsave(entry, uc, cssa);
	gpr->rax = regs->ax; gpr->rcx = regs->cx; gpr->rdx = regs->dx; gpr->rbx = regs->bx;
	gpr->rsp = regs->sp; gpr->rbp = regs->bp; gpr->rsi = regs->si; gpr->rdi = regs->di;
	gpr->r8 = regs->r8; gpr->r9 = regs->r9; gpr->r10 = regs->r10; gpr->r11 = regs->r11;
	gpr->r12 = regs->r12; gpr->r13 = regs->r13; gpr->r14 = regs->r14; gpr->r15 = regs->r15;
	gpr->rflags = regs->flags & ~(u64)RFLAGS_TF;
	gpr->rip = regs->ip;
	gpr->exit_info = exit_info;
	gpr->fs_base = rdfsbase();
	gpr->gs_base = rdgsbase();
	if ((exit_info & EXITINFO_VALID) && (entry->record.misc_select & MISCSELECT_EXINFO)) {
		struct exinfo *exinfo = (struct exinfo *)((char *)gpr - SIZEOF_EXINFO);
		u32 vector = exit_info & EXITINFO_VECTOR_MASK;
		if (vector == VECTOR_PF || vector == VECTOR_GP) {
			memset(exinfo, 0, sizeof *exinfo);
			exinfo->maddr = vector == VECTOR_PF ? address : 0;
			exinfo->errcd = error;
		}
	}
	slot->tcs->cssa = cssa + 1;

	u64 aep = slot->aep;
	regs->ax = ENCLU_ERESUME;
	regs->bx = slot->inside;
	regs->cx = aep;
	regs->dx = regs->si = regs->di = 0;
	regs->r8 = regs->r9 = regs->r10 = regs->r11 = regs->r12 = regs->r13 = regs->r14 = regs->r15 = 0;
	regs->sp = ursp;
	regs->bp = urbp;
	regs->ip = aep;
	regs->flags &= ~(u64)(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF | RFLAGS_RF);
	forget_xsave(uc, exit_info);
}

static bool load_xsave(const struct entry *entry, ucontext_t *uc, u32 frame)
{
	u64 size, *image = frame_xstate(uc, &size), xfrm = entry->record.xfrm;
	const char *from = (const char *)frame_base(entry, frame);
	const u64 *header = (const u64 *)(from + XSAVE_HEADER);

	if (!image)
		return true;
	/* XRSTOR's conditions: components outside XFRM, a compacted image or reserved MXCSR bits are #GP. */
	if (header[0] & ~xfrm)
		return false;
	for (u32 i = 1; i < 8; i++)
		if (header[i])
			return false;
	u32 mxcsr = *(const u32 *)(from + LEGACY_MXCSR), mask = *(u32 *)((char *)image + MXCSR_MASK_OFFSET);
	if (mxcsr & ~(mask ? mask : 0xffbf))
		return false;
	u64 outside = image[XSAVE_HEADER / 8] & ~xfrm;
	memcpy(image, from, MXCSR_MASK_OFFSET);
	memcpy((char *)image + 32, from + 32, 416 - 32);
	copy_components((char *)image, from, header[0]);
	image[XSAVE_HEADER / 8] = outside | header[0];
	return true;
}

/* False: the frame is corrupt (#GP); nothing is changed. */
bool resume_from_ssa(const struct entry *entry, ucontext_t *uc, u32 frame)
{
	struct sigcontext_64 *regs = registers(uc);
	const struct gprsgx *gpr = ssa_gpr(entry, frame);
	u64 restored = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_DF | RFLAGS_OF | RFLAGS_NT |
		       RFLAGS_AC | RFLAGS_RF | 0x200000 /* ID */;

	if (!load_xsave(entry, uc, frame))
		return false;
	regs->ax = gpr->rax; regs->cx = gpr->rcx; regs->dx = gpr->rdx; regs->bx = gpr->rbx;
	regs->sp = gpr->rsp; regs->bp = gpr->rbp; regs->si = gpr->rsi; regs->di = gpr->rdi;
	regs->r8 = gpr->r8; regs->r9 = gpr->r9; regs->r10 = gpr->r10; regs->r11 = gpr->r11;
	regs->r12 = gpr->r12; regs->r13 = gpr->r13; regs->r14 = gpr->r14; regs->r15 = gpr->r15;
	regs->flags = (regs->flags & ~restored) | (gpr->rflags & restored);
	regs->ip = gpr->rip;
	wrgsbase(gpr->gs_base);
	wrfsbase(gpr->fs_base);
	return true;
}
