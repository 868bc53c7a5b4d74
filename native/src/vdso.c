/*
 * The substitute vDSO: a small ELF image whose functions are those of the real one (found at their real addresses, by
 * modular arithmetic) and __vdso_sgx_enter_enclave, which is ours.
 *
 * Runtimes look it up in every way there is, so all of them work: DT_HASH (kernel selftest, Go, musl), DT_GNU_HASH
 * and versions (ld.so, which also binds DT_NEEDED linux-vdso.so.1), section headers (Intel's SDK).
 */
#include "stub.h"
#include <linux/elf.h>
#include <linux/mman.h>

#define MAX_SYMBOLS 64
#define STRINGS_SIZE 2048
#define VERSION_BASE 1
#define VERSION_LINUX_2_6 2

extern char vdso_sgx_enter_enclave[];   /* entry.S */

/* What <linux/elf.h> does not always have; under names of our own. */
struct verdef { u16 version, flags, index, aux_count; u32 hash, aux, next; };
struct verdaux { u32 name, next; };
#define VERDEF_BASE 1
#define TAG_GNU_HASH 0x6ffffef5
#define SECTION_GNU_HASH 0x6ffffff6
#define SECTION_VERDEF 0x6ffffffd
#define SECTION_VERSYM 0x6fffffff

enum { S_NULL, S_TEXT, S_HASH, S_GNU_HASH, S_DYNSYM, S_DYNSTR, S_VERSYM, S_VERDEF, S_DYNAMIC, S_SHSTRTAB, S_COUNT };

/* Both hash tables have a single bucket: a lookup walks all symbols, of which there are a dozen. */
struct vdso {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	Elf64_Dyn dynamic[11];
	Elf64_Shdr sections[S_COUNT];
	Elf64_Sym symbols[MAX_SYMBOLS];
	struct { u32 bucket_count, chain_count, bucket, chain[MAX_SYMBOLS]; } hash;
	struct { u32 bucket_count, first_symbol, bloom_words, bloom_shift; u64 bloom; u32 bucket, chain[MAX_SYMBOLS - 1]; } gnu_hash;
	u16 versions[MAX_SYMBOLS];
	struct { struct verdef def; struct verdaux aux; } definitions[2];
	char strings[STRINGS_SIZE];     /* starts with the empty name; shared by symbols and sections */
	u32 string_end;                 /* the builder's own */
};
_Static_assert(sizeof(struct verdef) == 20 && sizeof(struct verdaux) == 8, "the psABI's sizes");
_Static_assert(sizeof(struct vdso) <= 2 * PAGE, "two pages");
_Static_assert(offsetof(struct vdso, gnu_hash.bloom) == offsetof(struct vdso, gnu_hash) + 16, "no padding before it");
_Static_assert(offsetof(struct vdso, gnu_hash.chain) == offsetof(struct vdso, gnu_hash) + 28, "no padding before it");

static u32 elf_hash(const char *name)
{
	u32 h = 0;

	while (*name) {
		h = (h << 4) + (u8)*name++;
		h = (h ^ (h >> 24 & 0xf0)) & 0x0fffffff;
	}
	return h;
}

static u32 gnu_hash(const char *name)
{
	u32 h = 5381;

	while (*name)
		h = h * 33 + (u8)*name++;
	return h;
}

static u32 add_string(struct vdso *v, const char *text)
{
	u32 at = v->string_end;

	if (at + strlen(text) + 1 > STRINGS_SIZE)
		die("the system's vDSO has more names than expected");
	append(v->strings + at, text);
	v->string_end += strlen(text) + 1;
	return at;
}

static void add_symbol(struct vdso *v, const char *name, const void *address, u64 size, u8 info)
{
	u32 index = v->hash.chain_count;

	if (index == MAX_SYMBOLS)
		die("the system's vDSO has more symbols than expected");
	v->symbols[index] = (Elf64_Sym){ .st_name = add_string(v, name), .st_info = info, .st_shndx = S_TEXT,
		.st_value = (u64)address - (u64)v, .st_size = size };
	v->versions[index] = VERSION_LINUX_2_6;
	v->gnu_hash.chain[index - 1] = gnu_hash(name) & ~1u;
	v->hash.chain[index] = v->hash.bucket;
	v->hash.bucket = index;
	v->hash.chain_count++;
}

/* All functions of the real vDSO but a __vdso_sgx_enter_enclave of its own. */
static void copy_symbols(struct vdso *v, u64 real)
{
	const Elf64_Ehdr *header = (void *)real;
	const Elf64_Phdr *p = (void *)(real + header->e_phoff);
	const Elf64_Dyn *d = NULL;
	const Elf64_Sym *symbols = NULL;
	const char *strings = NULL;
	const u32 *hash = NULL;
	u64 bias = real;

	for (u32 i = 0; i < header->e_phnum; i++) {
		if (p[i].p_type == PT_LOAD)
			bias = real + p[i].p_offset - p[i].p_vaddr;
		else if (p[i].p_type == PT_DYNAMIC)
			d = (void *)(real + p[i].p_offset);
	}
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			symbols = (void *)(bias + d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			strings = (void *)(bias + d->d_un.d_ptr);
		else if (d->d_tag == DT_HASH)
			hash = (void *)(bias + d->d_un.d_ptr);
	}
	if (!symbols || !strings || !hash)
		return;
	for (u32 i = 1; i < hash[1]; i++) {
		const Elf64_Sym *s = &symbols[i];
		const char *name = strings + s->st_name;

		if (s->st_shndx != SHN_UNDEF && s->st_shndx < SHN_LORESERVE && ELF_ST_TYPE(s->st_info) == STT_FUNC &&
		    strcmp(name, "__vdso_sgx_enter_enclave"))
			add_symbol(v, name, (void *)(bias + s->st_value), s->st_size, s->st_info);
	}
}

static void define_versions(struct vdso *v, u32 soname)
{
	static const char *const names[] = { "linux-vdso.so.1", "LINUX_2.6" };

	for (u32 i = 0; i < 2; i++) {
		v->definitions[i].def = (struct verdef){ .version = 1, .flags = i ? 0 : VERDEF_BASE, .index = VERSION_BASE + i,
			.aux_count = 1, .hash = elf_hash(names[i]), .aux = sizeof(struct verdef),
			.next = i ? 0 : sizeof(v->definitions[0]) };
		v->definitions[i].aux.name = i ? add_string(v, names[i]) : soname;
	}
}

#define PLACE(member) offsetof(struct vdso, member)

static void describe_dynamic(struct vdso *v, u32 soname)
{
	const Elf64_Dyn dynamic[] = {
		{ DT_SONAME, { soname } },
		{ DT_HASH, { PLACE(hash) } },
		{ TAG_GNU_HASH, { PLACE(gnu_hash) } },
		{ DT_STRTAB, { PLACE(strings) } },
		{ DT_SYMTAB, { PLACE(symbols) } },
		{ DT_STRSZ, { STRINGS_SIZE } },
		{ DT_SYMENT, { sizeof(Elf64_Sym) } },
		{ DT_VERSYM, { PLACE(versions) } },
		{ DT_VERDEF, { PLACE(definitions) } },
		{ DT_VERDEFNUM, { 2 } },
		{ DT_NULL, { 0 } },
	};
	_Static_assert(sizeof(dynamic) == sizeof(v->dynamic), "room for exactly these");
	memcpy(v->dynamic, dynamic, sizeof(dynamic));
}

static void describe_section(struct vdso *v, u32 index, const char *name, u32 type, u64 offset, u64 size, u64 entry,
			     u32 link, u32 info)
{
	v->sections[index] = (Elf64_Shdr){ .sh_name = add_string(v, name), .sh_type = type, .sh_flags = SHF_ALLOC,
		.sh_addr = offset, .sh_offset = offset, .sh_size = size, .sh_entsize = entry, .sh_link = link,
		.sh_info = info, .sh_addralign = 8 };
}

static void describe_sections(struct vdso *v)
{
	u64 count = v->hash.chain_count;

	describe_section(v, S_TEXT, ".text", SHT_NOBITS, 0, sizeof(*v), 0, 0, 0);
	describe_section(v, S_HASH, ".hash", SHT_HASH, PLACE(hash), (3 + count) * 4, 4, S_DYNSYM, 0);
	describe_section(v, S_GNU_HASH, ".gnu.hash", SECTION_GNU_HASH, PLACE(gnu_hash), 28 + (count - 1) * 4, 0, S_DYNSYM, 0);
	describe_section(v, S_DYNSYM, ".dynsym", SHT_DYNSYM, PLACE(symbols), count * sizeof(Elf64_Sym), sizeof(Elf64_Sym),
			 S_DYNSTR, 1);
	describe_section(v, S_DYNSTR, ".dynstr", SHT_STRTAB, PLACE(strings), STRINGS_SIZE, 0, 0, 0);
	describe_section(v, S_VERSYM, ".gnu.version", SECTION_VERSYM, PLACE(versions), count * 2, 2, S_DYNSYM, 0);
	describe_section(v, S_VERDEF, ".gnu.version_d", SECTION_VERDEF, PLACE(definitions), sizeof(v->definitions), 0,
			 S_DYNSTR, 2);
	describe_section(v, S_DYNAMIC, ".dynamic", SHT_DYNAMIC, PLACE(dynamic), sizeof(v->dynamic), sizeof(Elf64_Dyn),
			 S_DYNSTR, 0);
	describe_section(v, S_SHSTRTAB, ".shstrtab", SHT_STRTAB, PLACE(strings), STRINGS_SIZE, 0, 0, 0);
}

static void describe_image(struct vdso *v)
{
	v->header = (Elf64_Ehdr){ .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_phoff = PLACE(segments), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = ARRAY_LENGTH(v->segments),
		.e_shoff = PLACE(sections), .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = S_COUNT, .e_shstrndx = S_SHSTRTAB,
		.e_ehsize = sizeof(Elf64_Ehdr) };
	v->segments[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = sizeof(*v),
		.p_memsz = sizeof(*v), .p_align = PAGE };
	/* Not writable: so glibc knows that it must not relocate the entries in place. */
	v->segments[1] = (Elf64_Phdr){ .p_type = PT_DYNAMIC, .p_flags = PF_R, .p_offset = PLACE(dynamic),
		.p_vaddr = PLACE(dynamic), .p_paddr = PLACE(dynamic), .p_filesz = sizeof(v->dynamic),
		.p_memsz = sizeof(v->dynamic), .p_align = 8 };
}

u64 build_vdso(u64 real)
{
	u64 at = sys(__NR_mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vdso *v = (void *)at;
	u32 soname;

	if (is_error(at))
		die("no memory for the vDSO");
	v->string_end = 1;
	soname = add_string(v, "linux-vdso.so.1");
	v->hash.bucket_count = v->hash.chain_count = 1;
	if (real)
		copy_symbols(v, real);
	add_symbol(v, "__vdso_sgx_enter_enclave", vdso_sgx_enter_enclave, 0, STB_GLOBAL << 4 | STT_FUNC);
	v->gnu_hash.bucket_count = v->gnu_hash.bloom_words = v->gnu_hash.first_symbol = v->gnu_hash.bucket = 1;
	v->gnu_hash.bloom = ~0UL;       /* "perhaps" for every name */
	v->gnu_hash.chain[v->hash.chain_count - 2] |= 1;
	define_versions(v, soname);
	describe_dynamic(v, soname);
	describe_sections(v);
	describe_image(v);
	sys(__NR_mprotect, at, 2 * PAGE, PROT_READ | PROT_EXEC);
	return at;
}
