package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// addSpace makes a namespace, under an id that was not there before.
func (t *tx) addSpace(n Namespace) *Namespace {
	t.sys.counters.namespace = max(t.sys.counters.namespace, uint64(n.ID))
	t.sys.counters.spaces++
	t.key = appendSpaceNameKey(t.key[:0], n.Name)
	t.val = putUvarint(t.val[:0], uint64(n.ID))
	t.set(t.key, t.val)
	return t.keepSpace(n, Namespace{})
}

// maxSpaceID is the last id of a namespace.
const maxSpaceID = 1<<32 - 1

// createNamespace makes a namespace.
type createNamespace struct {
	Name      string
	Retention time.Duration
	Quota     int64
}

func (*createNamespace) tag() commandTag { return tagCreateNamespace }

func (c *createNamespace) check() error {
	if err := holdall.CheckNamespaceName(c.Name); err != nil {
		return err
	}
	if c.Quota < 0 {
		return fmt.Errorf("metadata: quota of %d bytes: %w", c.Quota, holdall.ErrInvalid)
	}
	return checkRetention(c.Retention)
}

func (c *createNamespace) encode(dst []byte) []byte {
	return putCount(putDuration(putText(dst, c.Name), c.Retention), c.Quota)
}

func (c *createNamespace) decode(d *decoder) {
	c.Name, c.Retention, c.Quota = d.text(maxLabel), d.duration(), d.count()
}

func (c *createNamespace) run(t *tx) (result, error) {
	t.key = appendSpaceNameKey(t.key[:0], c.Name)
	switch _, taken, err := t.read(t.key); {
	case err != nil:
		return nil, err
	case taken:
		return nil, fmt.Errorf("metadata: namespace %q: %w", c.Name, holdall.ErrExists)
	case t.sys.counters.spaces >= holdall.MaxNamespaces || t.sys.counters.namespace >= maxSpaceID:
		return nil, fmt.Errorf("metadata: the cell has %d namespaces, that is the most: %w", t.sys.counters.spaces, holdall.ErrExhausted)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	n := t.addSpace(Namespace{ID: holdall.NamespaceID(t.sys.counters.namespace + 1), Name: c.Name, Retention: c.Retention, Quota: c.Quota})
	t.spaceChange(n)
	return &spaceAnswer{*n}, nil
}

func (t *tx) spaceChange(n *Namespace) {
	t.change(Change{Kind: ChangeNamespace, Namespace: n.ID, Name: n.Name, Retention: n.Retention, Quota: n.Quota})
}

// setNamespace changes the retention and the quota of a namespace.
type setNamespace struct {
	Namespace holdall.NamespaceID
	Retention time.Duration
	Quota     int64 // -1 = as it is
}

func (*setNamespace) tag() commandTag { return tagSetNamespace }

func (c *setNamespace) check() error {
	if c.Quota < -1 || c.Quota >= 1<<62 {
		return fmt.Errorf("metadata: quota of %d bytes: %w", c.Quota, holdall.ErrInvalid)
	}
	return checkRetention(c.Retention)
}

func (c *setNamespace) encode(dst []byte) []byte {
	return putCount(putDuration(putUvarint(dst, uint64(c.Namespace)), c.Retention), c.Quota+1)
}

func (c *setNamespace) decode(d *decoder) {
	c.Namespace, c.Retention, c.Quota = d.namespace(), d.duration(), d.count()-1
}

func (c *setNamespace) run(t *tx) (result, error) {
	if err := t.knownSpace(c.Namespace); err != nil {
		return nil, err
	}
	n, err := t.space(c.Namespace)
	if err != nil {
		return nil, err
	}
	was := *n
	if n.Retention = c.Retention; c.Quota >= 0 {
		n.Quota = c.Quota
	}
	if *n == was || n.ID == holdall.SystemNamespace {
		return noResult{}, nil
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	t.spaceChange(n)
	return noResult{}, nil
}

// removeNamespace removes a namespace that has nothing any more.
type removeNamespace struct{ Namespace holdall.NamespaceID }

func (*removeNamespace) tag() commandTag            { return tagRemoveNamespace }
func (*removeNamespace) check() error               { return nil }
func (c *removeNamespace) encode(dst []byte) []byte { return putUvarint(dst, uint64(c.Namespace)) }
func (c *removeNamespace) decode(d *decoder)        { c.Namespace = d.namespace() }

func (c *removeNamespace) run(t *tx) (result, error) {
	n, err := t.space(c.Namespace)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, fmt.Errorf("metadata: namespace %d: %w", c.Namespace, holdall.ErrNotFound)
	}
	if n.ID <= holdall.DefaultNamespace {
		return nil, fmt.Errorf("metadata: every cell has the namespace %q: %w", n.Name, holdall.ErrRefused)
	}
	has, err := t.spaceHas(n)
	if err != nil {
		return nil, err
	}
	if has != "" {
		return nil, fmt.Errorf("metadata: namespace %q has %s: %w", n.Name, has, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	t.change(Change{Kind: ChangeNamespaceGone, Namespace: n.ID})
	t.dropSpace(n)
	return noResult{}, nil
}

func (t *tx) dropSpace(n *Namespace) {
	t.sys.counters.spaces--
	t.spaces[n.ID].gone = true
	t.key = appendSpaceNameKey(t.key[:0], n.Name)
	t.unset(t.key)
}

// spaceHas says what a namespace has that keeps it; "" = nothing.
func (t *tx) spaceHas(n *Namespace) (string, error) {
	switch {
	case n.Buckets != 0:
		return fmt.Sprintf("%d buckets", n.Buckets), nil
	case n.Leaving != 0:
		return fmt.Sprintf("%d removed buckets whose objects are being purged", n.Leaving), nil
	case n.Credentials != 0:
		return fmt.Sprintf("%d credentials", n.Credentials), nil
	case n.Blocks != 0:
		return fmt.Sprintf("%d blocks", n.Blocks), nil
	}
	lower := putUvarint([]byte{prefixBlock}, uint64(n.ID))
	for _, err := range rows(t.b, lower, after(lower)) {
		if err != nil {
			return "", &fault{err}
		}
		return "blocks in trash, which wait to be purged", nil
	}
	return "", nil
}

// quotaLeft refuses what would add to a namespace that uses more than its quota.
func (t *tx) quotaLeft(id holdall.NamespaceID) error {
	n, err := t.space(id)
	if err != nil || n == nil {
		return err
	}
	if n.Quota > 0 && n.Bytes > n.Quota {
		return fmt.Errorf("metadata: namespace %q uses %d bytes, its quota is %d: %w", n.Name, n.Bytes, n.Quota, holdall.ErrExhausted)
	}
	return nil
}

// maxCredentials bounds the credentials of a cell.
const maxCredentials = 100_000

// putCredential adds a credential, or replaces one of the same namespace.
type putCredential struct{ Credential Credential }

func (*putCredential) tag() commandTag { return tagPutCredential }

func (c *putCredential) check() error {
	k := &c.Credential
	if k.AccessKey == "" || len(k.AccessKey) > maxAccessKey || len(k.Secret) == 0 || len(k.Secret) > maxSecret || len(k.Note) > maxNote {
		return fmt.Errorf("metadata: credential with %d bytes of access key, %d of secret, %d of note, want 1 to %d, 1 to %d, at most %d: %w",
			len(k.AccessKey), len(k.Secret), len(k.Note), maxAccessKey, maxSecret, maxNote, holdall.ErrInvalid)
	}
	return nil
}

func (c *putCredential) encode(dst []byte) []byte {
	return appendCredential(putText(dst, c.Credential.AccessKey), &c.Credential)
}

func (c *putCredential) decode(d *decoder) {
	c.Credential.AccessKey = d.text(maxAccessKey)
	d.credential(&c.Credential)
}

func (c *putCredential) run(t *tx) (result, error) {
	n, err := t.space(c.Credential.Namespace)
	if err != nil {
		return nil, err
	}
	if n == nil || n.ID == holdall.SystemNamespace {
		return nil, fmt.Errorf("metadata: credentials of namespace %d: there is none: %w", c.Credential.Namespace, holdall.ErrInvalid)
	}
	old, ok, err := t.credential(c.Credential.AccessKey)
	switch {
	case err != nil:
		return nil, err
	case ok && old.Namespace != n.ID:
		return nil, fmt.Errorf("metadata: access key %q: %w", old.AccessKey, holdall.ErrExists)
	case !ok && t.sys.counters.credentials >= maxCredentials:
		return nil, fmt.Errorf("metadata: the cell has %d credentials, that is the most: %w", t.sys.counters.credentials, holdall.ErrExhausted)
	case !ok:
		n.Credentials++
		t.sys.counters.credentials++
	}
	k := c.Credential
	k.Created = t.now.time()
	t.key = appendCredentialKey(t.key[:0], k.AccessKey)
	t.val = appendCredential(t.val[:0], &k)
	t.set(t.key, t.val)
	return noResult{}, nil
}

func (t *tx) credential(access string) (Credential, bool, error) {
	c, ok, err := readCredential(t.b, access)
	if err != nil {
		return c, false, &fault{err}
	}
	return c, ok, nil
}

// removeCredential removes a credential.
type removeCredential struct{ AccessKey string }

func (*removeCredential) tag() commandTag { return tagRemoveCredential }

func (c *removeCredential) check() error {
	if c.AccessKey == "" || len(c.AccessKey) > maxAccessKey {
		return fmt.Errorf("metadata: access key of %d bytes, want 1 to %d: %w", len(c.AccessKey), maxAccessKey, holdall.ErrInvalid)
	}
	return nil
}

func (c *removeCredential) encode(dst []byte) []byte { return putText(dst, c.AccessKey) }
func (c *removeCredential) decode(d *decoder)        { c.AccessKey = d.text(maxAccessKey) }

func (c *removeCredential) run(t *tx) (result, error) {
	old, ok, err := t.credential(c.AccessKey)
	if err == nil && !ok {
		err = fmt.Errorf("metadata: access key %q: %w", c.AccessKey, holdall.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	n, err := t.space(old.Namespace)
	if err != nil {
		return nil, err
	}
	if n == nil || n.Credentials == 0 {
		return nil, faultf("access key %q is of namespace %d, which does not count it: %w", c.AccessKey, old.Namespace, holdall.ErrCorrupt)
	}
	n.Credentials--
	t.sys.counters.credentials--
	t.key = appendCredentialKey(t.key[:0], c.AccessKey)
	t.unset(t.key)
	return noResult{}, nil
}
