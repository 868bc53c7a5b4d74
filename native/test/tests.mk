# The stub's tests: `make test` builds and runs all. Each prints "ok WHAT" or fails.

T = $(BUILD)/test
TEST_CFLAGS = -O2 -g -std=gnu11 -Wall -Wextra -Werror -MMD -MP
LOADER_PARTS = loader elf vdso exec paths lib
LOADER_OBJECTS = $(LOADER_PARTS:%=$(BUILD)/%.c.o) $(BUILD)/start.S.o $(T)/standins.o

TESTS = image-test loader-test paths-test hostile-test vdso-test exec-test show signals-test frames-test cpuid-test

REPORTS = dynamic static static-pie no-pie aligned exec-stack
dynamic_FLAGS =
static_FLAGS = -static
static-pie_FLAGS = -static-pie
no-pie_FLAGS = -no-pie
aligned_FLAGS = -DALIGNED=0x200000 -Wl,-z,max-page-size=0x200000
exec-stack_FLAGS = -z execstack

test: all $(TESTS:%=$(T)/%) $(T)/loader $(REPORTS:%=$(T)/report-%)
	$(T)/image-test $(BUILD)/vitrine-stub
	$(T)/loader-test $(T)/loader $(REPORTS:%=$(T)/report-%)
	$(T)/loader vitrine-stub 0 $(T)/vdso-test vdso-test
	$(T)/paths-test
	$(T)/hostile-test $(T)/report-dynamic
	rm -rf $(T)/exec-test.files
	$(T)/loader vitrine-stub 0 $(T)/exec-test exec-test $(T)/exec-test $(T)/show $(T)/loader
	$(T)/exec-test $(T)/exec-test $(T)/show > $(T)/exec-natively
	$(BUILD)/vitrine-stub no-host 0 $(T)/exec-test exec-test $(T)/exec-test $(T)/show > $(T)/exec-trapped 2> /dev/null
	diff $(T)/exec-natively $(T)/exec-trapped && echo "ok exec answers as the kernel does when it is trapped"
	$(T)/loader-test $(BUILD)/vitrine-stub $(REPORTS:%=$(T)/report-%)
	$(T)/signals-test
	VITRINE_STUB=1 $(BUILD)/vitrine-stub no-host 0 $(T)/signals-test signals-test
	$(T)/frames-test
	$(BUILD)/vitrine-stub no-host 0 $(T)/frames-test frames-test
	for file in $(BUILD)/vitrine-stub $(T)/report-static /lib64/ld-linux-x86-64.so.2; do \
		objdump -d --no-show-raw-insn $$file | awk '$$2 == "cpuid" { sub(":", "", $$1); print $$1 }' > $(T)/cpuids && \
		$(T)/cpuid-test $$file | diff $(T)/cpuids - && test -s $(T)/cpuids || exit 1; \
	done && echo "ok CPUID is replaced where a disassembler sees it, and nowhere else"

# The loader alone, without the rest of the stub: it needs no host.
$(T)/loader: $(LOADER_OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $^

# Parts of the stub in an ordinary program.
HOSTED = $(T)/hosted.o $(T)/standins.o $(BUILD)/lib.c.o $(BUILD)/elf.c.o $(BUILD)/exec.c.o $(BUILD)/paths.c.o
$(T)/paths-test $(T)/hostile-test $(T)/exec-test: $(HOSTED)

$(T)/cpuid-test: $(T)/standins.o $(BUILD)/cpuid.c.o $(BUILD)/decode.c.o $(BUILD)/lib.c.o

signals-test_FLAGS = -pthread

# vdso-test asks ld.so for linux-vdso.so.1; to be linked it needs something of that name.
$(T)/vdso-test: $(T)/linux-vdso.so.1
vdso-test_FLAGS = -Wl,--no-as-needed $(T)/linux-vdso.so.1
$(T)/linux-vdso.so.1: test/vdso-name.c test/vdso.map | $(T)
	$(CC) -shared -nostdlib -Wl,-soname,linux-vdso.so.1 -Wl,--version-script,test/vdso.map -o $@ $<

$(T)/%.o: test/%.c | $(T)
	$(CC) $(CFLAGS) -c -o $@ $<

$(REPORTS:%=$(T)/report-%): $(T)/report-%: test/report.c | $(T)
	$(CC) $(TEST_CFLAGS) $($*_FLAGS) -o $@ $<

$(TESTS:%=$(T)/%): $(T)/%: test/%.c | $(T)
	$(CC) $(TEST_CFLAGS) -o $@ $(filter %.c %.o,$^) $($*_FLAGS)

$(T): | $(BUILD)
	mkdir -p $@

-include $(wildcard $(T)/*.d)
