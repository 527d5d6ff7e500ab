package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/config"
)

func (c *cli) namespaceCommand() *cobra.Command {
	return noun("namespace", "Make namespaces, and say what they may use and how long their trash waits",
		"  holdall namespace create photos --quota 10TiB --retention 720h",
		c.namespaceCreate(), c.namespaceList(), c.namespaceShow(), c.namespaceSet(), c.namespaceRemove(), c.credentialCommand())
}

// namespaceFlags are what a namespace allows.
type namespaceFlags struct {
	flags     *pflag.FlagSet
	quota     string
	retention time.Duration
}

func (n *namespaceFlags) add(flags *pflag.FlagSet) {
	n.flags = flags
	flags.StringVar(&n.quota, "quota", "", "most bytes that its blocks may take, as in 500GiB; 0 is any number")
	flags.DurationVar(&n.retention, "retention", 0, "how long what was deleted can be undeleted, as in 168h")
}

func (n *namespaceFlags) options() (o client.NamespaceOptions, err error) {
	if n.flags.Changed("quota") {
		bytes := int64(0)
		if n.quota != "0" {
			if bytes, err = config.ParseSize(n.quota); err != nil {
				return o, fmt.Errorf("--quota: %w", err)
			}
		}
		o.Quota = &bytes
	}
	if n.flags.Changed("retention") {
		o.Retention = &n.retention
	}
	return o, nil
}

func namespaceNext(err error) error {
	if errors.Is(err, holdall.ErrNotFound) {
		return withNext(err, "holdall namespace ls")
	}
	return err
}

func (c *cli) namespaceCreate() *cobra.Command {
	var n namespaceFlags
	cmd := c.remoteCommand(&cobra.Command{
		Use:     "create NAME",
		Short:   "Make a namespace",
		Long:    "A namespace is what quota, retention, dedup and access keys are of. Its name follows the\nrules for buckets'.",
		Example: "  holdall namespace create photos --quota 10TiB",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		o, err := n.options()
		if err != nil {
			return err
		}
		made, err := cl.CreateNamespace(ctx, args[0], o)
		if errors.Is(err, holdall.ErrExists) {
			err = withNext(err, "`holdall namespace set %s` changes it", args[0])
		}
		if err != nil {
			return err
		}
		return c.emit(made, func(w io.Writer) { printNamespace(w, made) })
	})
	n.add(cmd.Flags())
	return cmd
}

func quotaText(n int64) string {
	if n == 0 {
		return "none"
	}
	return bytesText(n)
}

func printNamespace(w io.Writer, n *client.Namespace) {
	facts(w, "name", n.Name, "id", fmt.Sprint(n.ID), "retention", days(n.Retention()), "quota", quotaText(n.Quota), "blocks", count(int64(n.Blocks)),
		"bytes", bytesText(int64(n.Bytes)), "buckets", count(int64(n.Buckets)), "credentials", count(int64(n.Credentials)))
}

func (c *cli) namespaceList() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "ls",
		Short:   "List namespaces with what they use",
		Example: "  holdall namespace ls",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		list := []client.Namespace{}
		if err := cl.Namespaces(ctx, func(n client.Namespace) error { list = append(list, n); return nil }); err != nil {
			return err
		}
		return c.emit(list, func(w io.Writer) {
			t := newTable("NAME", ">BYTES", ">QUOTA", ">BLOCKS", ">BUCKETS", ">CREDENTIALS", "RETENTION")
			for i := range list {
				n := &list[i]
				t.row(n.Name, bytesText(int64(n.Bytes)), quotaText(n.Quota), count(int64(n.Blocks)), count(int64(n.Buckets)), count(int64(n.Credentials)), days(n.Retention()))
			}
			t.print(w)
		})
	})
}

func (c *cli) namespaceShow() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "show NAME",
		Short:   "Show one namespace",
		Example: "  holdall namespace show default",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		n, err := cl.Namespace(ctx, args[0])
		if err != nil {
			return namespaceNext(err)
		}
		return c.emit(n, func(w io.Writer) { printNamespace(w, n) })
	})
}

func (c *cli) namespaceSet() *cobra.Command {
	var n namespaceFlags
	cmd := c.remoteCommand(&cobra.Command{
		Use:     "set NAME",
		Short:   "Change a namespace's quota or retention",
		Long:    "A shorter retention holds for what is in trash already, too. A quota holds within a second.",
		Example: "  holdall namespace set photos --quota 20TiB",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		o, err := n.options()
		if err == nil && o == (client.NamespaceOptions{}) {
			err = fmt.Errorf("give --quota, --retention, or both: %w", holdall.ErrInvalid)
		}
		if err != nil {
			return err
		}
		set, err := cl.SetNamespace(ctx, args[0], o)
		if err != nil {
			return namespaceNext(err)
		}
		return c.emit(set, func(w io.Writer) { printNamespace(w, set) })
	})
	n.add(cmd.Flags())
	return cmd
}

func (c *cli) namespaceRemove() *cobra.Command {
	return c.remoteCommand(&cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove a namespace that has nothing any more",
		Example: "  holdall namespace rm photos",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		err := cl.RemoveNamespace(ctx, args[0])
		if errors.Is(err, holdall.ErrRefused) {
			return withNext(err, "`holdall namespace show %s` counts what it has: remove its buckets (`holdall bucket ls --namespace %s`)\n"+
				"and access keys (`holdall namespace credential ls --namespace %s`); what was deleted goes when retention ends", args[0], args[0], args[0])
		}
		return namespaceNext(err)
	})
}

func (c *cli) credentialCommand() *cobra.Command {
	return noun("credential", "Make, list and remove access keys of the S3 front door",
		"  holdall namespace credential create --namespace photos", c.credentialCreate(), c.credentialList(), c.credentialRemove())
}

// secretFacts is what `namespace credential create` prints, and nothing else
// ever does.
type secretFacts struct {
	client.Credential
	Secret string `json:"secret"`
}

func (c *cli) credentialCreate() *cobra.Command {
	var note string
	cmd := c.namespacedVerb(&cobra.Command{
		Use:   "create",
		Short: "Make an access key for a namespace, and print its secret, once",
		Long: "The secret is printed on standard output and kept nowhere in the clear: nothing tells it\n" +
			"again. An access key sees its own namespace and no other.",
		Example: "  holdall namespace credential create --namespace photos --note 'the web server'",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		made, secret, err := cl.CreateCredential(ctx, note)
		if err != nil {
			return namespaceNext(err)
		}
		return c.emit(secretFacts{*made, secret}, func(w io.Writer) {
			facts(w, "access key", made.AccessKey, "secret", secret, "namespace", made.Namespace, "note", shown(made.Note))
		})
	})
	cmd.Flags().StringVar(&note, "note", "", "who uses it, for people")
	return cmd
}

func (c *cli) credentialList() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "ls",
		Short:   "List the access keys of a namespace",
		Example: "  holdall namespace credential ls --namespace photos",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, cl *client.Client, _ []string) error {
		list := []client.Credential{}
		if err := cl.Credentials(ctx, func(k client.Credential) error { list = append(list, k); return nil }); err != nil {
			return namespaceNext(err)
		}
		return c.emit(list, func(w io.Writer) {
			t := newTable("ACCESS KEY", "CREATED", "NOTE")
			for _, k := range list {
				t.row(k.AccessKey, when(k.Created), shown(k.Note))
			}
			t.print(w)
		})
	})
}

func (c *cli) credentialRemove() *cobra.Command {
	return c.namespacedVerb(&cobra.Command{
		Use:     "rm ACCESS_KEY",
		Short:   "Remove an access key: from then on it opens nothing",
		Example: "  holdall namespace credential rm HOLDABCDEFGHIJKLMNOP --namespace photos",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, cl *client.Client, args []string) error {
		err := cl.RemoveCredential(ctx, args[0])
		if errors.Is(err, holdall.ErrNotFound) {
			return withNext(err, "`holdall namespace credential ls` lists those of a namespace; check --namespace")
		}
		return err
	})
}
