package config

import (
	"regexp"
	"slices"
	"strings"
)

// configEnv names the file when --config does not.
const configEnv = envPrefix + "CONFIG"

// parseEnv returns the settings of the environment, and what is wrong with the variables
// that begin with our prefix.
func parseEnv(s *schema, environ []string) (settings []*setting, problems []error) {
	byEnv := map[string]*key{}
	var known []string
	for _, k := range s.keys {
		byEnv[k.env()] = k
		known = append(known, strings.TrimPrefix(k.env(), envPrefix))
	}
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		k := byEnv[name]
		switch {
		case !strings.HasPrefix(name, envPrefix) || name == configEnv:
		case k == nil && isServiceLink(name, value):
		case k == nil:
			err := unknown("variable", envPrefix, strings.TrimPrefix(name, envPrefix), known)
			problems = append(problems, &Error{Source: "env " + printable(name), Err: err})
		case value != "":
			settings = append(settings, &setting{key: k, source: "env " + name, text: value})
		}
	}
	return settings, problems
}

// lookupEnv returns the value of a variable, empty if it is not set.
func lookupEnv(environ []string, name string) string {
	for _, variable := range environ {
		if n, value, _ := strings.Cut(variable, "="); n == name {
			return value
		}
	}
	return ""
}

// Kubernetes describes the services of a namespace to the containers in it by variables
// that begin with the name of the service. Those of a service "wireline" or
// "wireline-admin" look like ours. A name that ends with _PORT alone may also be a wrong
// key, so in that case the value decides.
// https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
var (
	serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	servicePort = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && servicePort.MatchString(value)
}
