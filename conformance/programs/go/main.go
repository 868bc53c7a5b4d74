// A static program without a C library that builds, signs and enters an enclave by raw system calls and its own ENCLU.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

const (
	page       = 4096
	threads    = 4
	perThread  = 3 // TCS, two SSA frames
	size       = 16 * page
	attributes = 4 // MODE64BIT
	xfrm       = 3
	regular    = 0x200
)

func enter(tcs uintptr, data *uint64)
func resume()

// Adds 1000 to what RDI points to, and leaves.
var code = []byte{
	0x48, 0x8b, 0x07, // mov (%rdi), %rax
	0x48, 0x05, 0xe8, 0x03, 0, 0, // add $1000, %rax
	0x48, 0x89, 0x07, // mov %rax, (%rdi)
	0x48, 0x89, 0xcb, // mov %rcx, %rbx
	0xb8, 4, 0, 0, 0, // mov $EEXIT, %eax
	0x0f, 0x01, 0xd7, // enclu
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func call(number, a, b, c, d, e, f uintptr) uintptr {
	r, _, errno := syscall.Syscall6(number, a, b, c, d, e, f)
	if errno != 0 {
		panic(errno)
	}
	return r
}

func ioctl(fd, command uintptr, argument unsafe.Pointer) {
	call(syscall.SYS_IOCTL, fd, command, uintptr(argument), 0, 0, 0)
}

func mmap(at, length, protection, flags, fd uintptr) uintptr {
	return call(syscall.SYS_MMAP, at, length, protection, flags, fd, 0)
}

// Memory that starts at a page.
func pageOf(content []byte) []byte {
	at := mmap(0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0))
	bytes := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), page)
	copy(bytes, content)
	return bytes
}

func words(values ...uint64) []byte {
	bytes := make([]byte, 0, 8*len(values))
	for _, value := range values {
		bytes = binary.LittleEndian.AppendUint64(bytes, value)
	}
	return bytes
}

type builder struct {
	fd, base    uintptr
	measurement []byte
}

func (b *builder) record(name string, values ...uint64) {
	block := make([]byte, 64)
	copy(block, name)
	copy(block[8:], words(values...))
	b.measurement = append(b.measurement, block...)
}

func (b *builder) add(at uint64, content []byte, secinfo uint64) {
	source, info := pageOf(content), pageOf(words(secinfo))
	request := [6]uint64{uint64(uintptr(unsafe.Pointer(&source[0]))), at, page, uint64(uintptr(unsafe.Pointer(&info[0]))), 1}
	ioctl(b.fd, 0xc030a401, unsafe.Pointer(&request))
	b.record("EADD", at, secinfo)
	for chunk := uint64(0); chunk < page; chunk += 256 {
		b.record("EEXTEND", at+chunk)
		b.measurement = append(b.measurement, source[chunk:chunk+256]...)
	}
}

func build() (base uintptr) {
	fd, err := syscall.Open("/dev/sgx_enclave", syscall.O_RDWR, 0)
	must(err)
	whole := mmap(0, 2*size, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0))
	base = (whole + size - 1) &^ (size - 1)
	b := builder{fd: uintptr(fd), base: base}
	secs := pageOf(words(size, uint64(base), 1))
	copy(secs[48:], words(attributes, xfrm))
	create := [1]uint64{uint64(uintptr(unsafe.Pointer(&secs[0])))}
	ioctl(b.fd, 0x4008a400, unsafe.Pointer(&create))
	b.measurement = make([]byte, 64)
	copy(b.measurement, "ECREATE")
	binary.LittleEndian.PutUint32(b.measurement[8:], 1)
	binary.LittleEndian.PutUint64(b.measurement[12:], size)

	b.add(0, code, regular|5)
	for i := uint64(0); i < threads; i++ {
		at := (1 + i*perThread) * page
		tcs := make([]byte, page)
		copy(tcs[16:], words(at+page, 2<<32, 0))
		binary.LittleEndian.PutUint64(tcs[64:], 0xffffffff_ffffffff)
		b.add(at, tcs, 0x100)
		b.add(at+page, nil, regular|3)
		b.add(at+2*page, nil, regular|3)
	}
	sigstruct := pageOf(sign(sha256.Sum256(b.measurement)))
	initialise := [1]uint64{uint64(uintptr(unsafe.Pointer(&sigstruct[0])))}
	ioctl(b.fd, 0x4008a402, unsafe.Pointer(&initialise))
	mmap(base, page, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_SHARED|syscall.MAP_FIXED, b.fd)
	mmap(base+page, threads*perThread*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_FIXED, b.fd)
	return base
}

func recovered() (what string) {
	defer func() { what = fmt.Sprint(recover()) }()
	var nothing *[1 << 20]int
	return fmt.Sprint(nothing[100])
}

func main() {
	base := build()
	sums := make([]uint64, threads)
	var all sync.WaitGroup
	for i := range sums {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for call := 0; call < 2000; call++ {
				enter(base+uintptr(1+i*perThread)*page, &sums[i])
				if call%100 == 0 {
					_ = make([]byte, 1<<20)
					runtime.GC()
				}
			}
		}(i)
	}
	all.Wait()
	fmt.Println(sums)
	fmt.Println(recovered())
	out, err := exec.Command("sh", "-c", "echo a child").Output()
	must(err)
	os.Stdout.Write(out)
}
