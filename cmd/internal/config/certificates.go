package config

import (
	"crypto/x509"
	"fmt"
)

// Certificates reads a file of certificates in PEM. An empty name gives nil, which
// stands for those of the system.
func Certificates(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no file is no error
	}
	pem, err := readFile(name, maxFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return pool, nil
}
