package node

import (
	"context"
	"crypto/rand"
	"path/filepath"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/s3front"
	"github.com/holdall/holdall/metadata"
)

// credentialKeyName is the file of a data directory under whose key the secrets
// of access keys are sealed.
const credentialKeyName = "credential.key"

// openVault makes ready to seal and open secrets. It touches no file.
func (n *Node) openVault() {
	n.vault = s3front.NewVault(filepath.Join(n.dir.path, credentialKeyName), rand.Reader)
}

// MakeCredential makes an access key for a namespace. The secret is nowhere in
// the clear but in this answer.
func (n *Node) MakeCredential(ctx context.Context, ns holdall.NamespaceID, note string) (metadata.Credential, s3front.Secret, error) {
	access, secret, err := s3front.NewCredential(rand.Reader)
	if err != nil {
		return metadata.Credential{}, s3front.Secret{}, err
	}
	sealed, err := n.vault.Seal(access, secret)
	if err != nil {
		return metadata.Credential{}, s3front.Secret{}, err
	}
	c := metadata.Credential{AccessKey: access, Namespace: ns, Secret: sealed, Note: note}
	if err := n.store.PutCredential(ctx, c); err != nil {
		return metadata.Credential{}, s3front.Secret{}, err
	}
	c, err = n.store.Credential(access) // with the time that the cell gave it
	return c, secret, err
}

// startS3 makes the S3 front door. It answers when the node serves.
func (n *Node) startS3() (err error) {
	n.s3, err = s3front.New(s3front.Config{Objects: n.door, Credentials: n.store, Vault: n.vault, Doubt: n.doubt, Logger: n.log, Registerer: n.registry})
	return err
}
