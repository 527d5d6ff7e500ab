package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// withClient runs f with a client of the server at --endpoint.
func (c *cli) withClient(ctx context.Context, f func(context.Context, *client.Client) error) error {
	cl, err := client.Dial(client.Options{Namespace: c.namespace}, c.endpoint)
	if err != nil {
		return withNext(err, "give --endpoint HOST:PORT of a server on this machine (the default is %s)", client.DefaultEndpoint)
	}
	defer cl.Close()
	return c.explain(f(ctx, cl))
}

// explain turns "could not connect" into what an operator can act on.
func (c *cli) explain(err error) error {
	if err == nil || !errors.Is(err, holdall.ErrUnavailable) || !unreachable(err) {
		return err
	}
	return withNext(fmt.Errorf("no server answers at %s: %w", c.endpoint, err),
		"start one with `holdall serve`, or name another with --endpoint or HOLDALL_ENDPOINT")
}

// unreachable says whether err is of the connection, not of the server.
func unreachable(err error) bool {
	text := err.Error() // gRPC keeps the system's error as text alone
	return strings.Contains(text, "connection refused") || strings.Contains(text, "error while dialing") || strings.Contains(text, "Error while dialing")
}

// remoteCommand is a command that talks to a server.
func (c *cli) remoteCommand(cmd *cobra.Command, f func(context.Context, *client.Client, []string) error) *cobra.Command {
	c.remote(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withClient(cmd.Context(), func(ctx context.Context, cl *client.Client) error { return f(ctx, cl, args) })
	}
	return cmd
}
