# How gcc makes hosts and enclaves, and vitrine measures and signs them: included by each example's Makefile.

CC = gcc
COMMON := $(dir $(lastword $(MAKEFILE_LIST)))
VITRINE = $(COMMON)../../bin/vitrine
BUILD = build

HOST_CFLAGS = -O2 -g -Wall -Wextra -Werror -I$(COMMON) -pthread
# What every host is linked with, and what it includes.
HOST_SOURCES = $(COMMON)loader.c $(COMMON)vdso.c
HOST_HEADERS = $(COMMON)loader.h $(COMMON)enclave-layout.h
# An enclave has no C library, no dynamic linker and no thread-local stack protector; every byte of it is measured,
# so nothing that differs from build to build goes in.
ENCLAVE_CFLAGS = -O2 -Wall -Wextra -Werror -I$(COMMON) -ffreestanding -nostdlib -fPIE -static-pie -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -maes -mrdrnd
ENCLAVE_LDFLAGS = -Wl,-e,enclave_entry -Wl,-z,separate-code -Wl,-z,max-page-size=4096 -Wl,-z,norelro \
	-Wl,--build-id=none -Wl,--no-dynamic-linker

all: $(BUILD)/host $(BUILD)/enclave.sigstruct

$(BUILD)/%.sigstruct: $(BUILD)/%.elf $(BUILD)/key.pem
	$(VITRINE) sign $< --key $(BUILD)/key.pem --output $@

# Anybody may sign an enclave; who signed it is what MRSIGNER says.
$(BUILD)/key.pem: | $(BUILD)
	$(VITRINE) keygen $@

$(BUILD):
	mkdir -p $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.SECONDARY:
