package metadata

import "github.com/holdall/holdall"

// migrationAnswer is a migration as the command left it.
type migrationAnswer struct{ Migration Migration }

func (r *migrationAnswer) encode(dst []byte) []byte {
	return appendCounts(appendMigration(putBucketID(dst, r.Migration.Bucket), &r.Migration), &r.Migration)
}

func (r *migrationAnswer) decode(d *decoder) {
	r.Migration.Bucket = d.bucketID()
	d.migration(&r.Migration)
	d.counts(&r.Migration)
}

// fencedAnswer says whether metadata did not know of a door.
type fencedAnswer struct{ Fenced bool }

func (r *fencedAnswer) encode(dst []byte) []byte { return putBool(dst, r.Fenced) }
func (r *fencedAnswer) decode(d *decoder)        { r.Fenced = d.bool() }

// takeAnswer is an intent granted, or who holds it.
type takeAnswer struct {
	Holder  *Intent // nil: granted
	Granted Granted
}

// What a takeAnswer has.
const (
	takenHeld   = 1 << 0 // the holder's intent, and nothing else
	takenNewest = 1 << 1
	takenEntry  = 1 << 2
)

func (r *takeAnswer) encode(dst []byte) []byte {
	if i := r.Holder; i != nil {
		return appendIntent(putText(putBucketID(append(dst, takenHeld), i.Bucket), i.Key), i)
	}
	g, flags := &r.Granted, byte(0)
	if g.HasNewest {
		flags |= takenNewest
	}
	if g.Entry != nil {
		flags |= takenEntry
	}
	dst = appendMigration(putBucketID(append(dst, flags), g.Migration.Bucket), &g.Migration)
	if o := &g.Newest; g.HasNewest {
		k := o.name()
		dst = appendObject(putObjectName(dst, &k), o)
	}
	if g.Entry != nil {
		dst = appendOutbox(putText(putBucketID(dst, g.Entry.Bucket), g.Entry.Key), g.Entry)
	}
	return dst
}

func (r *takeAnswer) decode(d *decoder) {
	flags := d.byte()
	switch {
	case flags == takenHeld:
		r.Holder = new(Intent)
		r.Holder.Bucket, r.Holder.Key = d.bucketID(), d.text(holdall.MaxKeySize)
		d.intent(r.Holder)
		return
	case flags&^(takenNewest|takenEntry) != 0:
		d.notZero(0)
	}
	g := &r.Granted
	g.Migration.Bucket = d.bucketID()
	d.migration(&g.Migration)
	if g.HasNewest = flags&takenNewest != 0; g.HasNewest {
		k := d.objectName()
		g.Newest.Bucket, g.Newest.Key, g.Newest.Version = k.Bucket, k.Key, k.Version
		d.object(&g.Newest)
	}
	if flags&takenEntry != 0 {
		g.Entry = new(Entry)
		g.Entry.Bucket, g.Entry.Key = d.bucketID(), d.text(holdall.MaxKeySize)
		d.entry(g.Entry)
	}
}
