package memlimit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroups(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a/memory.max":                            "200000000\n",
		"a/b/memory.max":                          "max\n",
		"a/b/c/memory.max":                        "300000000\n",
		"memory/memory.limit_in_bytes":            "9223372036854771712\n",
		"memory/d/memory.limit_in_bytes":          "83886080\n",
		"memory/d/nonsense/memory.limit_in_bytes": "none\n",
	} {
		file := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		groups string
		want   int64
	}{
		{"", 0},
		{"nonsense\n", 0},
		{"0::/\n", 0},
		{"0::/a/b\n", 200000000},
		{"0::/a/b/c\n", 200000000},
		{"0::/not/there\n", 0},
		{"5:cpu,cpuacct:/d\n", 0},
		{"5:cpu:/d\n4:hugetlb,memory:/d\n", 83886080},
		{"4:memory:/d/nonsense\n0::/a\n", 83886080},
		{"4:memory:/\n", 9223372036854771712},
		{"0::/../a\n", 200000000},
	} {
		if got := ofCgroups(test.groups, root); got != test.want {
			t.Errorf("%q: %d, want %d", test.groups, got, test.want)
		}
	}
}
