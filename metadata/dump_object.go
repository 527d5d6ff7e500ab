package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

func dumpBucket(b *Bucket) any {
	return struct {
		Table        string              `json:"table"`
		ID           holdall.BucketID    `json:"id"`
		Namespace    holdall.NamespaceID `json:"namespace"`
		Name         string              `json:"name"`
		Created      *time.Time          `json:"created,omitempty"`
		Removed      *time.Time          `json:"removed,omitempty"`
		Objects      int64               `json:"objects"`
		Bytes        int64               `json:"bytes"`
		Versions     int64               `json:"versions"`
		Uploads      int64               `json:"uploads"`
		KeepsMarkers bool                `json:"keeps_markers"`
		Migrates     bool                `json:"migrates"`
	}{"buckets", b.ID, b.Namespace, b.Name, utc(b.Created), utc(b.Removed), b.Objects, b.Bytes, b.Versions, b.Uploads, b.KeepsMarkers, b.Migrates}
}

// objectLine has the key as bytes, in base64: it need not be text.
type objectLine struct {
	Table      string           `json:"table"`
	Bucket     holdall.BucketID `json:"bucket"`
	Key        []byte           `json:"key"`
	Version    holdall.Version  `json:"version"`
	Put        string           `json:"put"`
	Origin     Origin           `json:"origin"`
	Marker     bool             `json:"marker"`
	Root       *holdall.BlockID `json:"root,omitempty"`
	Size       int64            `json:"size"`
	Modified   *time.Time       `json:"modified,omitempty"`
	ETag       string           `json:"etag"`
	Attributes []byte           `json:"attributes,omitempty"`
	Tags       []byte           `json:"tags,omitempty"`
	Committed  *time.Time       `json:"committed,omitempty"`
	TrashedAt  *time.Time       `json:"trashed_at,omitempty"`
	Source     *sourceLine      `json:"source,omitempty"`
}

func dumpObject(o *Object) any {
	l := objectLine{"objects", o.Bucket, []byte(o.Key), o.Version, o.Put.String(), o.Origin, o.Marker, nil, o.Size, utc(o.Modified), o.ETag,
		o.Attributes, o.Tags, utc(o.Committed), utc(o.TrashedAt), dumpFacts(&o.Source)}
	if !o.Marker {
		l.Root = &o.Root
	}
	return l
}

func dumpUpload(u *Upload) any {
	return struct {
		Table      string              `json:"table"`
		ID         string              `json:"id"`
		Namespace  holdall.NamespaceID `json:"namespace"`
		Bucket     holdall.BucketID    `json:"bucket"`
		Key        []byte              `json:"key"`
		State      UploadState         `json:"state"`
		Created    *time.Time          `json:"created,omitempty"`
		Ended      *time.Time          `json:"ended,omitempty"`
		Attributes []byte              `json:"attributes,omitempty"`
		Tags       []byte              `json:"tags,omitempty"`
		Result     holdall.Version     `json:"result"`
		Released   bool                `json:"released"`
	}{"uploads", u.ID.String(), u.Namespace, u.Bucket, []byte(u.Key), u.State, utc(u.Created), utc(u.Ended), u.Attributes, u.Tags, u.Result, u.Released}
}

func dumpPart(p *UploadPart) any {
	return struct {
		Table      string          `json:"table"`
		Upload     string          `json:"upload"`
		Number     int             `json:"number"`
		Block      holdall.BlockID `json:"block"`
		Node       bool            `json:"node"`
		Size       int64           `json:"size"`
		ETag       string          `json:"etag"`
		Attributes []byte          `json:"attributes,omitempty"`
		Modified   *time.Time      `json:"modified,omitempty"`
	}{"parts", p.Upload.String(), p.Number, p.Block, p.Node, p.Size, p.ETag, p.Attributes, utc(p.Modified)}
}

// dumpCredential leaves the secret out, encrypted as it is.
func dumpCredential(c *Credential) any {
	return struct {
		Table     string              `json:"table"`
		AccessKey string              `json:"access_key"`
		Namespace holdall.NamespaceID `json:"namespace"`
		Created   *time.Time          `json:"created,omitempty"`
		Note      string              `json:"note"`
	}{"credentials", c.AccessKey, c.Namespace, utc(c.Created), c.Note}
}

type changeLine struct {
	Table     string              `json:"table"`
	Seq       uint64              `json:"seq"`
	Time      *time.Time          `json:"time,omitempty"`
	Kind      ChangeKind          `json:"kind"`
	Namespace holdall.NamespaceID `json:"namespace"`
	ID        holdall.BlockID     `json:"id"`
	Volume    holdall.VolumeID    `json:"volume"`
	Epoch     string              `json:"epoch"`
	Stripe    uint64              `json:"stripe"`
	Location  *locationLine       `json:"location,omitempty"`
	Bucket    holdall.BucketID    `json:"bucket,omitempty"`
	Key       []byte              `json:"key,omitempty"`
	Version   holdall.Version     `json:"version,omitempty"`
	Put       string              `json:"put,omitempty"`
	Name      string              `json:"name,omitempty"`
	Retention int64               `json:"retention_ms,omitempty"`
	Quota     int64               `json:"quota,omitempty"`
	Number    uint64              `json:"number,omitempty"`
	Data      []byte              `json:"data,omitempty"`
}

func dumpChange(c *Change) any {
	l := changeLine{Table: "changes", Seq: c.Seq, Time: utc(c.Time), Kind: c.Kind, Namespace: c.Namespace, ID: c.ID, Volume: c.Volume, Epoch: c.Epoch.String(),
		Stripe: c.Stripe, Location: dumpLocation(&c.Location), Bucket: c.Bucket, Key: []byte(c.Key), Version: c.Version, Name: c.Name,
		Retention: c.Retention.Milliseconds(), Quota: c.Quota, Number: c.Number, Data: c.Data}
	if c.Put != (holdall.PutID{}) {
		l.Put = c.Put.String()
	}
	return l
}
