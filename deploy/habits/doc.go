// Package habits tests what no compiler does: that lint reports an import
// through each wall of the house, and that what the Markdown files name, files,
// make targets and metrics, is there.
package habits
