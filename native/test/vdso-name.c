/* Only its name and its symbol matter: vdso-test is linked against it, ld.so binds the real thing. */
int __vdso_sgx_enter_enclave(void)
{
	return -1;
}
