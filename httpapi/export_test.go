package httpapi

import "maps"

// Routes returns every path of the surface and its methods.
func (a *API) Routes() map[string][]string {
	routes := map[string][]string{}
	for path, methods := range a.table() {
		for method := range maps.Keys(methods) {
			routes[path] = append(routes[path], method)
		}
	}
	return routes
}
