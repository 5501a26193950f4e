package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"wireline/config"
)

// A file that was printed has a mask in the place of each secret, which is none.
func TestMaskIsNoSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	l, err := load([]string{"--admin.token=s3cret"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t, l)
	if strings.Contains(text, "s3cret") {
		t.Errorf("the secret is printed:\n%s", text)
	}
	write(t, "printed.yaml", text)
	const want = "admin.token: file printed.yaml: \"(secret)\" stands for a secret that was not printed"
	if _, err := load([]string{"--config=printed.yaml"}, nil); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// A default that is secret is masked too, and only strings can be secret.
func TestSecretKinds(t *testing.T) {
	var cfg struct {
		Token string `config:"token,secret" default:"s3cret" help:"x"`
	}
	options := config.Options{Name: "x", Prefix: "X", Args: []string{}, Environ: []string{}}
	var b strings.Builder
	config.Usage(&b, &cfg, options)
	if err := config.Table(&b, &cfg, options); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "s3cret") || strings.Count(text, "(secret)") != 2 {
		t.Errorf("the texts are\n%s", text)
	}
	for name, of := range map[string]any{
		"list": &struct {
			X []string `config:"x,secret"`
		}{},
		"text": &struct {
			X netip.Addr `config:"x,secret"`
		}{},
		"int": &struct {
			X int `config:"x,secret"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			config.Usage(&b, of, options)
		}()
	}
}
