// Command fairlane is a priority-queueing scheduler in front of vLLM.
package main

import "fairlane/cmd/internal/cli"

type grammar struct {
	Serve       serveCmd       `cmd:"" default:"withargs" help:"Serve: the edge, the queue and the workers, all in one process or a part of them."`
	CheckConfig checkConfigCmd `cmd:"" help:"Check a configuration file and print what it means."`
	Key         keyCmd         `cmd:"" help:"Make, list and revoke API keys."`
	Backend     backendCmd     `cmd:"" help:"List, add, drain and remove backends while the server runs."`
	Quota       quotaCmd       `cmd:"" help:"Read and change the limits of single callers while everything runs."`
	Refused     refusedCmd     `cmd:"" help:"Print who was refused most in the last hour, over all processes."`
	Token       tokenCmd       `cmd:"" help:"Mint a signed JWT for a test."`
	Why         whyCmd         `cmd:"" help:"Say why requests waited: of a request, a person or a conversation."`
	Doctor      doctorCmd      `cmd:"" help:"Look at a running installation and say what to change."`
	Simulate    simulateCmd    `cmd:"" help:"Play a workload against configurations on virtual time, and say who gets what."`
	Emulate     emulateCmd     `cmd:"" help:"Serve an emulated vLLM, without a GPU."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

func command() cli.Command {
	return cli.Command{
		Name:        "fairlane",
		Description: "Puts fair queues in front of vLLM: classes and people share the GPU by weight.",
		Grammar:     &grammar{},
	}
}

func main() { command().Main() }
