// Package redisrevoke keeps the lists of revoked tokens of many processes the same,
// by way of Redis. A request never waits for Redis: a [Follower] has all revocations
// in memory, and learns of a new one some milliseconds after a [Publisher] has told
// Redis.
//
// It is a module of its own, so that nobody else builds a Redis client.
//
// Where tokens are checked:
//
//	follower, err := redisrevoke.NewFollower(redisrevoke.FollowerConfig{
//		Redis:      redisrevoke.Redis{URL: os.Getenv("REDIS_URL")}, // rediss://api:password@redis.example.com:6379
//		WhenBehind: redisrevoke.FailClosed,
//	})
//	...
//	config.Checks = append(config.Checks, follower.Check)
//
// and where somebody logs out:
//
//	publisher, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{Redis: ...})
//	...
//	err = publisher.Revoke(ctx, revoke.Session(token.Issuer, token.SessionID, time.Now().Add(longestLifetime)))
//
// Package revoke says which entry answers what. Only when Revoke has returned nil does
// Redis have it.
//
// # Faults
//
// A Follower asks Redis some three times a second whether it has everything, and so knows
// how far behind it may be, see [Follower.Lag]. What is known to be revoked is refused
// whatever happens. What becomes of other tokens once Lag is greater than MaxLag, and
// until everything was loaded once, has to be said in [FollowerConfig]: [FailClosed]
// answers 503, [GoOn] lets them in, and shouts. In the end no Follower lacks anything
// that Redis kept, and none forgets what Redis forgot:
//
//	while it lasts                              FailClosed / GoOn
//
//	Redis is killed                             503 / let in
//	Redis restarts, with its append-only file   as ever
//	Redis loads its append-only file            503 / let in
//	Redis hangs                                 503 / let in
//	connections break                           as ever
//	Redis answers, slower than Timeout          503 / let in
//	Redis answers, slower than usual            as ever
//	the stream of changes was trimmed           as ever
//	FLUSHALL                                    as ever
//	FLUSHALL, and the ids begin again           as ever
//	Redis is put back to an older state         as ever
//	an entry cannot be read                     503 / let in
//	an entry is larger than any of ours         503 / let in
//	a change is larger than any of ours         as ever
//	a key holds something else                  503 / let in
//	the list is full                            503 / let in
//	a replica answers                           503 / let in
//	the user may not read                       503 / let in
//
// As ever means that it is over before MaxLag is. A fail-over of a cluster is as if
// Redis was killed until a replica has taken over; moving the slot of the keys to
// another node likewise, until it is done. After FLUSHALL, an eviction, or a fail-over
// to a replica that lacked the last changes, processes that run go on refusing what
// they know, and those that start later cannot know it.
//
// Lag is what the master says that is asked. One that was cut off from its replicas, with
// the Follower on its side, does not know that another took over: in a cluster it finds
// out after cluster-node-timeout; outside of one, Redis has no means against it.
//
// # What Redis has to be
//
// Redis 7.0 or newer, alone or a cluster, or Valkey; tested with Redis 7.0 and 8.0, and
// with Valkey 8.1. Databases other than 0 are not used. Sentinels are not asked: with them, let the URL have a name or a proxy that
// leads to the master, and follows it. Whoever connects to a replica meanwhile notices,
// and tries again.
//
// Redis is trusted: whoever can write to the keys, or stands between, decides what is
// revoked. One who only writes junk can hold followers up, which is as if Redis could
// not be followed, and cannot make them take more memory than their list may have, and
// a reply of 32 MiB. Use rediss://, and two users:
//
//	ACL SETUSER publisher on >password resetkeys ~{bearerguard}:* resetchannels -@all +hello +eval +time +zrange +zrem +zadd +hget +hset +xadd +wait +cluster|slots +cluster|shards
//	ACL SETUSER follower on >password resetkeys %R~{bearerguard}:* resetchannels -@all +hello +hmget +zscan +xread +info +cluster|slots +cluster|shards
//
// The follower's cannot write: an API that was broken into cannot let revoked tokens in
// elsewhere. It may do without info, see below. Redis asks for a password when a
// connection is made, and ends none when the password changes; with
// [Redis].Credentials, whoever connects has the one of the moment.
//
// No key has a time to live, so that maxmemory-policy may be noeviction or any of the
// volatile ones, and never one of allkeys, which may drop the revocations without a
// word, and the entries first, since the other keys are asked for all the time. A
// Follower asks for the policy when it connects; one of allkeys is logged as an error and
// shown by [Status], and it follows all the same. With noeviction, Revoke fails when
// the memory is full. What outlives a restart is what the append-only file has: with
// appendfsync everysec, a power failure loses the last second, with always nothing. A
// fail-over loses what the replica does not have yet; [PublisherConfig].WaitReplicas
// makes Revoke wait for it, which makes a loss less likely, and not impossible.
//
// An entry is removed from Redis ten minutes after its Until by the clock of Redis, and
// from a Follower five minutes after it by its own, when no Verifier of that process
// accepts the tokens any more. So the clock of Redis may be five minutes ahead of those
// of the APIs; with more between them, an API that starts late may lack an entry that it
// needs. The order of changes does not depend on clocks, and those may jump.
//
// # What it takes
//
// In Redis an entry takes some 115 bytes and the length of its issuer and value, until
// ten minutes after its Until; it is removed when something else is revoked, a
// thousand at a time. To revoke once more what differs in Before makes another. The
// stream keeps the last 100,000 changes, each some 110 bytes and what it revokes; a
// Follower that missed more loads everything again. Revoke sends a script, 1 KiB with
// an entry, and another for each 32 entries.
//
// A Follower takes what a revoke.List takes, 40 to 55 bytes an entry, and some 100 KiB
// with its two connections. Idle, it costs Redis ten commands a second, and the network
// 1.2 KiB; loading costs what the entries are long, and about a command for a thousand.
// While it loads it confirms nothing: MaxLag has to be longer than that takes, or a
// Follower that has to load again is behind meanwhile.
//
// On two cores, with Redis beside it that syncs its file for each change, a revocation
// reached four Followers after 1 ms in the median of a thousand, and after 5 ms in the
// 99th percentile; 100,000 entries were loaded in 0.4 s, and a million in 5 s; after a
// network cut of 10 s, all was known again after 1.3 to 1.7 s; and a Check took 0.2 µs,
// where asking Redis took 35 to 160 µs, as other work of the machine let it. The
// end-to-end tests print these figures, but that of a million, with -v.
package redisrevoke
