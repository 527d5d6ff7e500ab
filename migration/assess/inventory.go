package assess

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/md5" // what S3's manifests have
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/catalogue"
)

// DefaultSchema is what the columns of an inventory file without a manifest are.
const DefaultSchema = "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass"

// maxManifest bounds a manifest: it names files, a few hundred bytes each, of some
// hundred thousand records.
const maxManifest = 256 << 20 // bytes

// manifest is the manifest.json of an S3 Inventory.
type manifest struct {
	SourceBucket string `json:"sourceBucket"`
	FileFormat   string `json:"fileFormat"`
	FileSchema   string `json:"fileSchema"`
	Created      string `json:"creationTimestamp"` // milliseconds since 1970
	Files        []struct {
		Key string `json:"key"`
		MD5 string `json:"MD5checksum"`
	} `json:"files"`
}

// inventoryFile is one file of records.
type inventoryFile struct {
	name string // in the catalogue
	path string
	md5  string // "" = not known
}

// Inventory is S3 Inventory files on this machine.
type Inventory struct {
	Bucket  string    // "" where no manifest says
	Created time.Time // of the inventory; zero where no manifest says
	files   []inventoryFile
	columns map[string]int
	width   int
}

// OpenInventory reads a manifest.json whose files lie beside it, or stands for one
// CSV file, gzipped or not, whose columns are schema ("" = DefaultSchema).
func OpenInventory(file, schema string) (*Inventory, error) {
	if filepath.Ext(file) != ".json" {
		i := &Inventory{files: []inventoryFile{{name: filepath.Base(file), path: file}}}
		if schema == "" {
			schema = DefaultSchema
		}
		_, err := os.Stat(file)
		return i, errors.Join(err, i.schema(schema))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer f.Close()
	var m manifest
	if err := json.NewDecoder(io.LimitReader(f, maxManifest)).Decode(&m); err != nil {
		return nil, fmt.Errorf("inventory manifest %s: %v: %w", file, err, holdall.ErrInvalid)
	}
	if m.FileFormat != "CSV" {
		return nil, fmt.Errorf("inventory manifest %s: its files are %.20q, only CSV is read: %w", file, m.FileFormat, holdall.ErrInvalid)
	}
	i := &Inventory{Bucket: m.SourceBucket}
	if ms, err := strconv.ParseInt(m.Created, 10, 64); err == nil {
		i.Created = time.UnixMilli(ms).UTC()
	}
	for _, f := range m.Files {
		path, err := beside(file, f.Key)
		if err != nil {
			return nil, err
		}
		i.files = append(i.files, inventoryFile{f.Key, path, f.MD5})
	}
	return i, i.schema(m.FileSchema)
}

// beside finds a file of a manifest: next to it, below it, or where S3 lays it,
// in the data directory beside that of the manifest. The key is not a path: only
// its last part names a file.
func beside(manifest, key string) (string, error) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	if name == "" || name == "." || name == ".." || name != filepath.Base(name) {
		return "", fmt.Errorf("inventory manifest %s: %.80q is no file name: %w", manifest, key, holdall.ErrInvalid)
	}
	dir := filepath.Dir(manifest)
	for _, d := range []string{dir, filepath.Join(dir, "data"), filepath.Join(dir, "..", "data")} {
		if path := filepath.Join(d, name); fileExists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("inventory manifest %s: its file %s is neither beside it nor in data/ or ../data/: %w", manifest, name, os.ErrNotExist)
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// schema notes which column is what.
func (i *Inventory) schema(text string) error {
	i.columns = map[string]int{}
	names := strings.Split(text, ",")
	i.width = len(names)
	for n, name := range names {
		i.columns[strings.TrimSpace(name)] = n
	}
	for _, need := range []string{"Key", "Size"} {
		if _, ok := i.columns[need]; !ok {
			return fmt.Errorf("inventory: the columns %q lack %s: %w", text, need, holdall.ErrInvalid)
		}
	}
	return nil
}

// FillInventory puts an inventory's records into the catalogue, from where a run
// before this one was.
func (f *Filling) FillInventory(ctx context.Context, c *catalogue.Catalogue, i *Inventory) (err error) {
	if finished, err := c.Fact(ctx, catalogue.FactFinished); err != nil || finished != "" {
		return err
	}
	defer func() { err = errors.Join(err, c.Flush()) }()
	versioning := unknown + "the inventory has current versions only"
	if _, ok := i.columns["VersionId"]; ok {
		versioning = "as the inventory has it"
	}
	now := f.Now().UTC().Format(time.RFC3339)
	if err := errors.Join(c.SetFact(ctx, catalogue.FactBegan, now), c.SetFact(ctx, catalogue.FactVersioning, versioning),
		c.SetFact(ctx, catalogue.FactUploads, unknown+"an inventory does not have them")); err != nil {
		return err
	}
	rows, err := c.Count(ctx)
	if err != nil {
		return err
	}
	for n, file := range i.files {
		had := rows
		if err := f.file(ctx, c, i, file, &rows); err != nil {
			return fmt.Errorf("inventory file %s: %w", file.path, err)
		}
		total := int64(0)
		if rows > had {
			total = rows * int64(len(i.files)) / int64(n+1)
		}
		f.report(Progress{Phase: "inventory", Rows: rows, Total: total})
	}
	if !i.Created.IsZero() {
		now = i.Created.Format(time.RFC3339)
	}
	return c.SetFact(ctx, catalogue.FactFinished, now)
}

// file puts one file's records in. The whole file is read and compared with its
// checksum even where its first records are in already.
func (f *Filling) file(ctx context.Context, c *catalogue.Catalogue, i *Inventory, file inventoryFile, rows *int64) error {
	skip, done, err := c.File(ctx, file.name)
	if err != nil || done {
		return err
	}
	records, err := openRecords(file, i.width)
	if err != nil {
		return err
	}
	defer records.Close()
	n := int64(0)
	for {
		fields, err := records.csv.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%v (are the columns %d? --inventory-schema names them): %w", err, i.width, holdall.ErrInvalid)
		}
		if n++; n <= skip {
			continue
		}
		o, err := i.object(fields)
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := c.Add(ctx, o); err != nil {
			return err
		}
		*rows++
		if c.Full(time.Now()) {
			if err := errors.Join(c.SetFile(ctx, file.name, n, false), c.Flush(), ctx.Err()); err != nil {
				return err
			}
			f.report(Progress{Phase: "inventory", Rows: *rows})
		}
	}
	if err := records.check(file.md5); err != nil {
		return err
	}
	return c.SetFile(ctx, file.name, n, true)
}

// records reads the records of a file and hashes its bytes.
type records struct {
	csv  *csv.Reader
	raw  io.Reader // the file through its hash
	file *os.File
	sum  hash.Hash
}

func openRecords(file inventoryFile, width int) (*records, error) {
	f, err := os.Open(file.path)
	if err != nil {
		return nil, err
	}
	r := &records{file: f, sum: md5.New()}
	r.raw = io.TeeReader(f, r.sum)
	in := bufio.NewReaderSize(r.raw, 1<<20)
	var text io.Reader = in
	if magic, _ := in.Peek(2); slices.Equal(magic, []byte{0x1f, 0x8b}) {
		if text, err = gzip.NewReader(in); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	r.csv = csv.NewReader(text)
	r.csv.ReuseRecord, r.csv.FieldsPerRecord = true, width
	return r, nil
}

// check compares the file's bytes with the manifest's checksum.
func (r *records) check(want string) error {
	if _, err := io.Copy(io.Discard, r.raw); err != nil {
		return err
	}
	if got := hex.EncodeToString(r.sum.Sum(nil)); want != "" && got != want {
		return fmt.Errorf("its MD5 is %s, the manifest says %s: fetch it again, and begin with a new catalogue: %w", got, want, holdall.ErrCorrupt)
	}
	return nil
}

// Close closes the file.
func (r *records) Close() error { return r.file.Close() }

// object reads one record. Keys are URL-encoded in inventories.
func (i *Inventory) object(fields []string) (o catalogue.Object, err error) {
	at := func(name string) string {
		if n, ok := i.columns[name]; ok {
			return strings.Clone(fields[n]) // the reader uses its record again
		}
		return ""
	}
	if o.Key, err = url.QueryUnescape(at("Key")); err != nil {
		return o, fmt.Errorf("key %.200q is not URL-encoded: %w", at("Key"), holdall.ErrInvalid)
	}
	if size := at("Size"); size != "" { // delete markers have none
		if o.Size, err = strconv.ParseInt(size, 10, 64); err != nil || o.Size < 0 {
			return o, fmt.Errorf("size %.40q: %w", size, holdall.ErrInvalid)
		}
	}
	if when := at("LastModifiedDate"); when != "" {
		if o.Modified, err = time.Parse(time.RFC3339, when); err != nil {
			return o, fmt.Errorf("time %.40q: %w", when, holdall.ErrInvalid)
		}
	}
	latest, versioned := i.columns["IsLatest"]
	o.Latest = !versioned || fields[latest] == "true"
	o.Marker = at("IsDeleteMarker") == "true"
	o.Version, o.ETag, o.Class = at("VersionId"), strings.Trim(at("ETag"), `"`), at("StorageClass")
	return o, nil
}
