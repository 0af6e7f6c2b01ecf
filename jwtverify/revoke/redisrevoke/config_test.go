package redisrevoke_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

func TestAConfigWithAFaultIsRefusedAndSaysWhatToWrite(t *testing.T) {
	good := redisrevoke.FollowerConfig{
		Redis: redisrevoke.Redis{URL: "redis://user:secret@127.0.0.1:1"}, WhenBehind: redisrevoke.FailClosed,
	}
	f, err := redisrevoke.NewFollower(good)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	for name, c := range map[string]struct {
		change func(*redisrevoke.FollowerConfig)
		says   string
	}{
		"no URL":           {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "" }, "rediss://user:password@host:port"},
		"another scheme":   {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "https://secret@redis.example:6379" }, "rediss://"},
		"no port":          {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "rediss://u:secret@redis.example" }, "host:port"},
		"no host":          {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://u:secret@:6379" }, "host:port"},
		"a database":       {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://u:secret@127.0.0.1:6379/1" }, "databases other than 0"},
		"a query":          {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://127.0.0.1:6379?p=secret" }, "host:port"},
		"one node without": {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://127.0.0.1:6379,secret" }, "host:port"},
		"no password":      {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://secret@127.0.0.1:6379" }, "user without a password"},
		"a bad escape":     {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://u:secret%zz@127.0.0.1:6379" }, "percent-encoded"},
		"in the clear":     {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://u:secret@redis.example:6379" }, "rediss://"},
		"one in the clear": {func(c *redisrevoke.FollowerConfig) { c.Redis.URL = "redis://127.0.0.1:1,10.0.0.1:1" }, "InsecureTCP"},
		"TLS without":      {func(c *redisrevoke.FollowerConfig) { c.Redis.TLS = &tls.Config{} }, "rediss://"},
		"unverified TLS": {func(c *redisrevoke.FollowerConfig) {
			c.Redis.URL, c.Redis.TLS = "rediss://127.0.0.1:1", &tls.Config{InsecureSkipVerify: true}
		}, "RootCAs"},
		"two users": {func(c *redisrevoke.FollowerConfig) {
			c.Redis.Credentials = func(context.Context) (string, string, error) { return "u", "p", nil }
		}, "beside Credentials"},
		"a namespace":      {func(c *redisrevoke.FollowerConfig) { c.Redis.Namespace = "a}b" }, "Namespace"},
		"a long namespace": {func(c *redisrevoke.FollowerConfig) { c.Redis.Namespace = strings.Repeat("a", 65) }, "Namespace"},
		"a timeout":        {func(c *redisrevoke.FollowerConfig) { c.Redis.Timeout = 5 }, "Timeout is 5ns"},
		"no policy":        {func(c *redisrevoke.FollowerConfig) { c.WhenBehind = 0 }, "WhenBehind is required: write FailClosed"},
		"no such policy":   {func(c *redisrevoke.FollowerConfig) { c.WhenBehind = 3 }, "WhenBehind is required"},
		"an unmade list":   {func(c *redisrevoke.FollowerConfig) { c.List = new(revoke.List) }, "not made by New"},
		"too little lag":   {func(c *redisrevoke.FollowerConfig) { c.MaxLag = 5 }, "at least time.Second"},
		"negative lag":     {func(c *redisrevoke.FollowerConfig) { c.MaxLag = -time.Hour }, "at least time.Second"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			c.change(&config)
			_, err := redisrevoke.NewFollower(config)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "secret", "no error tells a password")
		})
	}
	_, err = redisrevoke.NewPublisher(redisrevoke.PublisherConfig{Redis: good.Redis, WaitReplicas: -1})
	require.ErrorContains(t, err, "WaitReplicas")
	_, err = redisrevoke.NewPublisher(redisrevoke.PublisherConfig{})
	require.ErrorContains(t, err, "URL")
}
