-- Times are microseconds of Unix time. Identifiers and keys compare bytewise, SQLite's default.

CREATE TABLE contents (
	num         INTEGER PRIMARY KEY, -- for content_terms
	id          TEXT    NOT NULL UNIQUE,
	title       TEXT    NOT NULL,
	title_key   BLOB    NOT NULL,    -- the first bytes of the title, which may end within a character
	author      TEXT    NOT NULL,
	version     INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	description TEXT    NOT NULL     -- last, because it is long: the others are read without it
) STRICT;
CREATE INDEX contents_created ON contents (created_at, id);
CREATE INDEX contents_updated ON contents (updated_at, id);
CREATE INDEX contents_title ON contents (title_key, id);
CREATE INDEX contents_author ON contents (author, created_at, id);

CREATE TABLE deleted_contents (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID, STRICT;

-- The terms of title and description, separated by spaces, by contents.num. To the tokenizer "ascii" every character beyond
-- ASCII is part of a word, so that it splits nothing but at the spaces.
CREATE VIRTUAL TABLE content_terms USING fts5 (terms, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');

CREATE TABLE ratings (
	content    TEXT    NOT NULL,
	rater      TEXT    NOT NULL,
	score      INTEGER NOT NULL,
	bucket     INTEGER NOT NULL,
	epoch      INTEGER NOT NULL,
	"offset"   INTEGER NOT NULL,
	result     TEXT    NOT NULL, -- rating.Result; 'withdrawn' ones are tombstones
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (content, rater)
) WITHOUT ROWID, STRICT;
CREATE INDEX ratings_rater ON ratings (rater, updated_at, content) WHERE result <> 'withdrawn';
CREATE INDEX ratings_updated ON ratings (updated_at, content, rater) WHERE result <> 'withdrawn';
CREATE INDEX ratings_withdrawn ON ratings (updated_at) WHERE result = 'withdrawn';

-- What follows from the ratings of one content. Every content has a row, so that lists need no outer join; those that are not in
-- contents belong to the host. Revision 0: never rated.
CREATE TABLE rating_stats (
	content  TEXT    NOT NULL PRIMARY KEY,
	n        INTEGER NOT NULL DEFAULT 0,
	sum      INTEGER NOT NULL DEFAULT 0,
	value    REAL    NOT NULL DEFAULT 0,
	weight   REAL    NOT NULL DEFAULT 0,
	rank     REAL    NOT NULL DEFAULT 0,
	folded   INTEGER NOT NULL DEFAULT 0,
	revision INTEGER NOT NULL DEFAULT 0,
	as_of    INTEGER NOT NULL DEFAULT 0,
	dirty_at INTEGER                     -- when the buckets first changed since the last fold
) WITHOUT ROWID, STRICT;
CREATE INDEX rating_stats_n ON rating_stats (n, content);
CREATE INDEX rating_stats_rank ON rating_stats (rank, content);
CREATE INDEX rating_stats_dirty ON rating_stats (dirty_at, content) WHERE dirty_at IS NOT NULL;

CREATE TABLE rating_bins (
	content TEXT    NOT NULL,
	score   INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	PRIMARY KEY (content, score)
) WITHOUT ROWID, STRICT;

CREATE TABLE rating_buckets (
	content TEXT    NOT NULL,
	bucket  INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	sum     INTEGER NOT NULL,
	PRIMARY KEY (content, bucket)
) WITHOUT ROWID, STRICT;

CREATE TABLE openings (
	content   TEXT    NOT NULL PRIMARY KEY,
	opened_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE streams (
	stream TEXT    NOT NULL PRIMARY KEY,
	epoch  INTEGER NOT NULL UNIQUE
) WITHOUT ROWID, STRICT;

CREATE TABLE ticks (
	job   TEXT    NOT NULL PRIMARY KEY,
	at    INTEGER NOT NULL,
	until INTEGER NOT NULL -- end of the lease
) WITHOUT ROWID, STRICT;

CREATE TABLE rejected (
	id       INTEGER PRIMARY KEY AUTOINCREMENT, -- later ones are greater, also after removals
	stream   TEXT    NOT NULL,
	"offset" INTEGER NOT NULL,
	key      TEXT    NOT NULL,
	body     BLOB    NOT NULL,
	reason   TEXT    NOT NULL,
	detail   TEXT    NOT NULL,
	at       INTEGER NOT NULL,
	UNIQUE (stream, "offset", key)
) STRICT;
CREATE INDEX rejected_key ON rejected (key, id);
CREATE INDEX rejected_at ON rejected (at);

CREATE TABLE usernames (canonical TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID, STRICT; -- of deleted users too

CREATE TABLE users (
	id            TEXT    NOT NULL PRIMARY KEY,
	username      TEXT    NOT NULL,
	canonical     TEXT    NOT NULL UNIQUE REFERENCES usernames,
	email         TEXT    NOT NULL,
	password_hash TEXT    NOT NULL,
	staff         INTEGER NOT NULL,
	disabled      INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	joined_at     INTEGER NOT NULL,
	updated_at    INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE sessions (
	id         TEXT    NOT NULL PRIMARY KEY,
	user       TEXT    NOT NULL REFERENCES users ON DELETE CASCADE,
	label      TEXT    NOT NULL,
	generation INTEGER NOT NULL,
	siblings   INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	rotated_at INTEGER NOT NULL,
	idle_at    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX sessions_user ON sessions (user, created_at);
CREATE INDEX sessions_end ON sessions (min(idle_at, expires_at));

CREATE TABLE tokens (
	hash       BLOB    NOT NULL PRIMARY KEY,
	session    TEXT    NOT NULL REFERENCES sessions ON DELETE CASCADE,
	kind       TEXT    NOT NULL,
	generation INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX tokens_session ON tokens (session);
CREATE INDEX tokens_access ON tokens (expires_at) WHERE kind = 'access';
