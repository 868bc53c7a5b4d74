// Touches no enclave: what a start costs.
int main(void)
{
	return 0;
}
