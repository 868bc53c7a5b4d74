module enclave

go 1.19
