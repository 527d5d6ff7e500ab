package s3front

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
)

// Credentials finds access keys. *metadata.Store is one.
type Credentials interface {
	Credential(accessKey string) (metadata.Credential, error)
}

// accounts is what versitygw asks about access keys. It looks each one up on
// every request, so that a credential that was removed is worth nothing from
// then on. It implements auth.SigningKeyProvider, so that no secret ever leaves
// it.
type accounts struct {
	credentials Credentials
	vault       *Vault
	report      func(what string, err error) // logs what an answer must not say
}

// DeriveSigningKey returns the key that a request's signature is made with, and
// whose it is. The account holds the namespace in ProjectID. Every account is an
// administrator of what it can see, since an access key belongs to one namespace
// and sees nothing else; versitygw then asks for no policies and no ACLs.
func (a *accounts) DeriveSigningKey(access, session, date, region, service string) ([]byte, auth.Account, error) {
	if session != "" {
		return nil, auth.Account{}, auth.ErrInvalidSessionToken
	}
	row, err := a.credentials.Credential(access)
	if errors.Is(err, holdall.ErrNotFound) || err == nil && row.Namespace == holdall.SystemNamespace {
		return nil, auth.Account{}, auth.ErrNoSuchUser
	}
	var secret Secret
	if err == nil {
		secret, err = a.vault.Open(access, row.Secret)
	}
	if err != nil {
		a.report("access key", err)
		return nil, auth.Account{}, s3err.GetAPIError(s3err.ErrInternalError)
	}
	return signingKey(secret, date, region, service),
		auth.Account{Access: access, Role: auth.RoleAdmin, ProjectID: int(row.Namespace)}, nil
}

// signingKey is that of AWS Signature Version 4.
func signingKey(s Secret, date, region, service string) []byte {
	key := []byte("AWS4" + s.Reveal())
	for _, word := range []string{date, region, service, "aws4_request"} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(word))
		key = h.Sum(nil)
	}
	return key
}

// namespaceOf returns the namespace of whoever signed the request of ctx, which
// is versitygw's.
func namespaceOf(ctx context.Context) (holdall.NamespaceID, error) {
	account, ok := ctx.Value("account").(auth.Account)
	if !ok || account.Access == "" || account.ProjectID == int(holdall.SystemNamespace) {
		return 0, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return holdall.NamespaceID(account.ProjectID), nil
}

// The rest of auth.IAMService. Access keys are made and removed through Holdall's
// own interfaces.

// GetUserAccount says no: whoever needs a secret asks for a signing key.
func (a *accounts) GetUserAccount(string) (auth.Account, error) {
	return auth.Account{}, auth.ErrNoSuchUser
}

// ResolveAccounts knows nobody: there is nothing to grant to others.
func (a *accounts) ResolveAccounts(keys []string) ([]string, error) { return keys, nil }

// CreateAccount says no.
func (a *accounts) CreateAccount(auth.Account) error {
	return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)
}

// UpdateUserAccount says no.
func (a *accounts) UpdateUserAccount(string, auth.MutableProps) error {
	return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)
}

// DeleteUserAccount says no.
func (a *accounts) DeleteUserAccount(string) error {
	return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)
}

// ListUserAccounts says no.
func (a *accounts) ListUserAccounts() ([]auth.Account, error) {
	return nil, s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)
}

// Shutdown has nothing to do.
func (a *accounts) Shutdown() error { return nil }
