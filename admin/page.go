package admin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"regexp"
)

//go:embed page.html
var page []byte

// pagePolicy lets the page run its own script and style, and talk to this server alone.
var pagePolicy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
	"; script-src " + hashOf("script") + "; style-src " + hashOf("style")

// hashOf returns the hash of the element of that name in the page, as a policy wants it.
func hashOf(element string) string {
	m := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`).FindSubmatch(page)
	sum := sha256.Sum256(m[1])
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// servePage answers with the page. It has no data: it asks for those.
func servePage(w http.ResponseWriter, _ *http.Request) { writePage(w, http.StatusOK) }

func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Security-Policy", pagePolicy)
	write(w, status, "text/html; charset=utf-8", page)
}
