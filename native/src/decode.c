/*
 * How long an instruction is: enough of the instruction format to walk through 64-bit code.
 * Spec: SDM vol. 2, chapter 2 "Instruction Format" and appendix A "Opcode Map"; AMD64 APM vol. 3 for XOP and 3DNow!.
 */
#include "stub.h"

/*
 * What follows an opcode, a row for every sixteen: . nothing, m ModRM, b w d an immediate of 1, 2, 4 bytes, z of the
 * operand size (2 or 4), v of 2, 4 or 8, o an address, e ENTER's three; capitals B Z: ModRM and immediate; t: Z and B
 * in group 3, only of TEST; p: a prefix or an escape; - no instruction.
 */
static const char one_byte[] =
	"mmmmbz--mmmmbz-p" "mmmmbz--mmmmbz--" "mmmmbzp-mmmmbzp-" "mmmmbzp-mmmmbzp-"
	"pppppppppppppppp" "................" "--pmppppzZbB...." "bbbbbbbbbbbbbbbb"
	"BZ-Bmmmmmmmmmmmm" "..........-....." "oooo....bz......" "bbbbbbbbvvvvvvvv"
	"BBw.ppBZe.w..b-." "mmmm---.mmmmmmmm" "bbbbbbbbdd-b...." "p.pp..tt......mm";
static const char two_byte[] =
	"mmmm-.....-.-m.B" "mmmmmmmmmmmmmmmm" "mmmm----mmmmmmmm" "......-.p-p-----"
	"mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "BBBBmmm.mm--mmmm"
	"dddddddddddddddd" "mmmmmmmmmmmmmmmm" "...mBmmm...mBmmm" "mmmmmmmmmmBmmmmm"
	"mmBmBBBm........" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm";

struct prefixes { bool operand16, wide, address32; };

bool is_legacy_prefix(u8 byte)
{
	return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || byte == 0x2e ||
	       byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65;
}

/* ModRM, SIB and displacement. */
static u32 memory_operand(const u8 *at)
{
	u8 mod = at[0] >> 6, rm = at[0] & 7;
	u32 length = 1;

	if (mod == 3)
		return length;
	if (rm == 4) {
		length++;
		if (mod == 0 && (at[1] & 7) == 5)
			return length + 4;
	}
	if (mod == 0)
		return rm == 5 ? length + 4 : length;
	return length + (mod == 1 ? 1 : 4);
}

static u32 tail(char kind, const u8 *at, struct prefixes p, bool byte_sized)
{
	u32 z = p.operand16 ? 2 : 4;

	switch (kind) {
	case '.': return 0;
	case 'm': return memory_operand(at);
	case 'b': return 1;
	case 'w': return 2;
	case 'd': return 4;
	case 'e': return 3;
	case 'z': return z;
	case 'v': return p.wide ? 8 : z;
	case 'o': return p.address32 ? 4 : 8;
	case 'B': return memory_operand(at) + 1;
	case 'Z': return memory_operand(at) + z;
	case 't': return memory_operand(at) + ((at[0] >> 3 & 7) > 1 ? 0 : byte_sized ? 1 : z);
	default: return NO_INSTRUCTION;
	}
}

/* After a VEX, EVEX or XOP prefix, of which `map` says where the opcode is. */
static u32 vector(u32 map, const u8 *opcode)
{
	switch (map) {
	case 1: return opcode[0] == 0x77 ? 1 : 1 + tail(two_byte[opcode[0]], opcode + 1, (struct prefixes){ 0 }, false);
	case 2: case 5: case 6: case 9: return 1 + memory_operand(opcode + 1);
	case 3: case 8: return 1 + memory_operand(opcode + 1) + 1;
	case 10: return 1 + memory_operand(opcode + 1) + 4;
	default: return NO_INSTRUCTION;
	}
}

u32 instruction_length(const u8 code[DECODE_BYTES])
{
	struct prefixes p = { 0 };
	const u8 *at = code;
	u32 length;

	for (; is_legacy_prefix(*at); at++) {
		if (at - code == MAX_INSTRUCTION)
			return 0;
		p.operand16 |= *at == 0x66;
		p.address32 |= *at == 0x67;
	}
	if ((*at & 0xf0) == 0x40) {
		p.wide = *at & 8;
		at++;
	}
	u8 op = *at++;
	if (op == 0xc5) {
		at++;
		length = vector(1, at);
	} else if (op == 0xc4 || (op == 0x8f && (*at & 0x1f) >= 8)) {
		length = vector(*at & 0x1f, at + 2);
		at += 2;
	} else if (op == 0x62) {
		length = vector(*at & 7, at + 3);
		at += 3;
	} else if (op != 0x0f) {
		length = tail(one_byte[op], at, p, op == 0xf6);
	} else {
		op = *at++;
		if (op == 0x38 || op == 0x3a) {
			at++;
			length = tail(op == 0x38 ? 'm' : 'B', at, p, false);
		} else {
			length = tail(two_byte[op], at, p, false);
		}
	}
	length += (u32)(at - code);
	return length > MAX_INSTRUCTION ? 0 : length;
}
