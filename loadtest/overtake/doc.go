// Package overtake plays the scene that fairlane exists for, against any
// OpenAI-compatible server, and measures it: one person floods it, two others
// work at their own pace, and then somebody important asks once.
//
// It sees HTTP only. People are told apart by the headers with which Open WebUI
// forwards them, so against a server that ignores those everybody is one.
package overtake
