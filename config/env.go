package config

import (
	"regexp"
	"slices"
	"strings"
)

// parseEnv returns the settings of the environment, and what is wrong with the variables
// that begin with our prefix.
func parseEnv(s *schema, environ []string) (settings []*setting, problems []error) {
	variables := slices.Sorted(slices.Values(environ))
	for _, variable := range variables {
		if name, value, _ := strings.Cut(variable, "="); value != "" {
			if m := s.growEnv(name); m != nil {
				m.seen("env " + name)
			}
		}
	}
	byEnv := map[string]*key{}
	var known []string
	for _, k := range s.all() {
		byEnv[k.env] = k
		known = append(known, strings.TrimPrefix(k.env, s.prefix))
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		k := byEnv[name]
		switch {
		case !strings.HasPrefix(name, s.prefix) || name == s.prefix+"CONFIG":
		case k == nil && (isServiceLink(name, value) || value == "" && s.growEnv(name) != nil):
		case k == nil:
			err := s.unknownVariable(strings.TrimPrefix(name, s.prefix), known)
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
