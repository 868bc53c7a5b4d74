package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
)

const keyBytes = 384

// A SIGSTRUCT by a fresh 3072-bit key with exponent 3, made from the manual's description alone.
func sign(measurement [32]byte) []byte {
	s := make([]byte, 1808)
	copy(s, []byte{6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0})
	binary.LittleEndian.PutUint32(s[20:], 0x20240101)
	copy(s[24:], []byte{1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0})
	binary.LittleEndian.PutUint64(s[928:], attributes)
	binary.LittleEndian.PutUint64(s[936:], xfrm)
	binary.LittleEndian.PutUint64(s[944:], ^uint64(0))
	binary.LittleEndian.PutUint64(s[952:], ^uint64(0))
	copy(s[960:], measurement[:])

	three, one := big.NewInt(3), big.NewInt(1)
	prime := func() (p, less *big.Int) {
		for {
			p, err := rand.Prime(rand.Reader, keyBytes*4)
			must(err)
			less := new(big.Int).Sub(p, one)
			if new(big.Int).Mod(less, three).Sign() != 0 {
				return p, less
			}
		}
	}
	p, pLess := prime()
	q, qLess := prime()
	modulus := new(big.Int).Mul(p, q)
	private := new(big.Int).ModInverse(three, new(big.Int).Mul(pLess, qLess))

	// PKCS #1 v1.5 padding around the DigestInfo of SHA-256.
	digest := sha256.Sum256(append(append([]byte{}, s[:128]...), s[900:1028]...))
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}, digest[:]...)
	padded := make([]byte, keyBytes)
	padded[1] = 1
	for i := 2; i < keyBytes-len(info)-1; i++ {
		padded[i] = 0xff
	}
	copy(padded[keyBytes-len(info):], info)

	signature := new(big.Int).Exp(new(big.Int).SetBytes(padded), private, modulus)
	q1, rest := new(big.Int).DivMod(new(big.Int).Mul(signature, signature), modulus, new(big.Int))
	q2 := new(big.Int).Div(new(big.Int).Mul(rest, signature), modulus)
	put := func(at int, value *big.Int) {
		for i, b := range value.FillBytes(make([]byte, keyBytes)) {
			s[at+keyBytes-1-i] = b
		}
	}
	put(128, modulus)
	binary.LittleEndian.PutUint32(s[512:], 3)
	put(516, signature)
	put(1040, q1)
	put(1424, q2)
	return s
}
