package main

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdall/holdall/internal/config"
)

// settingsFlags holds the settings given as flags until config.Load weighs them
// against the other sources.
type settingsFlags struct {
	file  string
	given map[string][]string
}

// settingValue is one setting as a flag.
type settingValue struct {
	setting config.Setting
	given   map[string][]string
}

// Set notes one value.
func (v *settingValue) Set(s string) error {
	if v.setting.Repeat {
		v.given[v.setting.Name] = append(v.given[v.setting.Name], s)
	} else {
		v.given[v.setting.Name] = []string{s}
	}
	return nil
}

// String returns the default, which is what help shows.
func (v *settingValue) String() string { return v.setting.Default() }

// Type names the value in help.
func (v *settingValue) Type() string {
	if v.setting.Bool {
		return "bool"
	}
	return "value"
}

// addSettings gives flags one flag a setting, and --config.
func (c *cli) addSettings(flags *pflag.FlagSet) *settingsFlags {
	f := &settingsFlags{given: map[string][]string{}}
	flags.StringVar(&f.file, "config", c.envOr("HOLDALL_CONFIG", ""), "TOML file of settings; its keys are the flags' names (HOLDALL_CONFIG)")
	flags.SortFlags = false
	for _, s := range new(config.Config).Settings() {
		flag := flags.VarPF(&settingValue{s, f.given}, s.Name, "", s.Help+" ("+s.Env()+")")
		if s.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// load resolves the settings.
func (c *cli) load(f *settingsFlags) (*config.Config, error) {
	cfg, err := config.Load(config.Sources{File: f.file, Env: c.env, Flags: f.given})
	return cfg, withNext(err, "holdall config show, and holdall serve -h for what each setting takes")
}

func (c *cli) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:     "check",
		Short:   "Say whether the settings are valid, and everything that is wrong with them",
		Example: "  holdall config check --config /etc/holdall/holdall.toml",
		Args:    cobra.NoArgs,
	}
	checked := c.addSettings(check.Flags())
	check.RunE = func(*cobra.Command, []string) error {
		cfg, err := c.load(checked)
		if err != nil {
			return err
		}
		return c.emit(map[string]any{"valid": true, "settings": cfg.Show()}, func(w io.Writer) { io.WriteString(w, "the settings are valid\n") })
	}
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print every setting, its value, and where that came from",
		Example: "  holdall config show --config holdall.toml --memory 2GiB",
		Args:    cobra.NoArgs,
	}
	shown := c.addSettings(show.Flags())
	show.RunE = func(*cobra.Command, []string) error {
		cfg, err := c.load(shown)
		if err != nil {
			return err
		}
		list := cfg.Show()
		return c.emit(list, func(w io.Writer) {
			t := newTable("SETTING", "VALUE", "FROM")
			for _, e := range list {
				t.row(e.Name, or(e.Value, "-"), e.Origin)
			}
			t.print(w)
		})
	}
	return noun("config", "Check and show settings", "  holdall config show", check, show)
}
