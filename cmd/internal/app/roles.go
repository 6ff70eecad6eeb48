package app

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a part of fairlane that a process may play.
type Role string

// The roles.
const (
	RoleProxy      Role = "proxy"
	RoleDispatcher Role = "dispatcher"
	RoleWorker     Role = "worker"
)

// AllRoles are what one process plays unless it is told otherwise.
func AllRoles() []Role { return []Role{RoleProxy, RoleDispatcher, RoleWorker} }

// ParseRoles reads a list such as proxy,worker; an empty one is all of them.
func ParseRoles(list []string) ([]Role, error) {
	if len(list) == 0 {
		return AllRoles(), nil
	}
	var roles []Role
	for _, name := range list {
		role := Role(strings.ToLower(strings.TrimSpace(name)))
		if !slices.Contains(AllRoles(), role) {
			return nil, fmt.Errorf("--roles: %q is none of proxy, dispatcher, worker", name)
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles, nil
}
