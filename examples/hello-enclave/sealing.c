#include "sealing.h"
#include "crypto.h"

/* Two keys from the processor's one: each key has one use. */
static int keys_for(const struct key_request *request, uint8_t *encryption, uint8_t *authentication)
{
	uint8_t key[16];

	if (get_key(request, key) != 0)
		return 0;
	aes_cmac(key, "encryption", 10, encryption);
	aes_cmac(key, "authentication", 14, authentication);
	clear(key, sizeof(key));
	return 1;
}

/* One block is enough for 16 bytes; a new KEYID makes a new key for each, so no counter is needed. */
static void encrypt_or_decrypt(const uint8_t *key, const uint8_t *from, uint8_t *to)
{
	uint8_t stream[16];

	aes_cmac(key, "stream", 6, stream);
	for (int i = 0; i < 16; i++)
		to[i] = from[i] ^ stream[i];
	clear(stream, sizeof(stream));
}

/* The MAC is over the request, too: whoever changes that asks for another key, and fails. */
static void authenticate(const uint8_t *key, const struct sealed *sealed, uint8_t *mac)
{
	aes_cmac(key, sealed, sizeof(sealed->request) + sizeof(sealed->hidden), mac);
}

void seal(const uint8_t *secret, struct sealed *sealed)
{
	static struct target_info nobody;
	static struct report self;
	uint8_t encryption[16], authentication[16], no_data[64] = { 0 };

	/* The processor knows its own and the enclave's security versions; a report tells them. */
	make_report(&nobody, no_data, &self);
	clear(sealed, sizeof(*sealed));
	sealed->request.name = KEY_SEAL;
	sealed->request.policy = KEYPOLICY_MRENCLAVE;
	sealed->request.isv_svn = self.isv_svn;
	copy(sealed->request.cpu_svn, self.cpu_svn, sizeof(self.cpu_svn));
	sealed->request.attribute_mask = ~0UL; /* with other attributes, debugging above all, it is another enclave */
	random_bytes(sealed->request.key_id, sizeof(sealed->request.key_id));
	if (!keys_for(&sealed->request, encryption, authentication))
		__builtin_trap();
	encrypt_or_decrypt(encryption, secret, sealed->hidden);
	authenticate(authentication, sealed, sealed->mac);
	clear(encryption, sizeof(encryption));
	clear(authentication, sizeof(authentication));
}

int unseal(const struct sealed *sealed, uint8_t *secret)
{
	uint8_t encryption[16], authentication[16], mac[16];
	int genuine;

	if (sealed->request.name != KEY_SEAL || !keys_for(&sealed->request, encryption, authentication))
		return 0;
	authenticate(authentication, sealed, mac);
	genuine = equal(mac, sealed->mac, sizeof(mac));
	if (genuine)
		encrypt_or_decrypt(encryption, sealed->hidden, secret);
	clear(encryption, sizeof(encryption));
	clear(authentication, sizeof(authentication));
	return genuine;
}
