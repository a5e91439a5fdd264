-- Identifiers and keys compare bytewise, whatever the database's collation: COLLATE "C".

CREATE TABLE khodnevis.contents (
	id          text COLLATE "C" PRIMARY KEY,
	title       text NOT NULL,
	title_key   bytea NOT NULL, -- the first bytes of the title, which may end within a character
	description text NOT NULL,
	terms       text[] NOT NULL, -- the words of title and description, long ones by their hash
	author      text COLLATE "C" NOT NULL,
	version     bigint NOT NULL,
	created_at  timestamptz NOT NULL,
	updated_at  timestamptz NOT NULL
);
CREATE INDEX contents_created ON khodnevis.contents (created_at, id);
CREATE INDEX contents_updated ON khodnevis.contents (updated_at, id);
CREATE INDEX contents_title ON khodnevis.contents (title_key, id);
CREATE INDEX contents_author ON khodnevis.contents (author, created_at, id);
CREATE INDEX contents_terms ON khodnevis.contents USING gin (terms);

-- Identifiers of contents that are gone, for ever. What their ratings left behind is invisible from then on, and removed bit
-- by bit until swept is set.
CREATE TABLE khodnevis.deleted_contents (
	id         text COLLATE "C" PRIMARY KEY,
	deleted_at timestamptz NOT NULL DEFAULT now(),
	swept      boolean NOT NULL DEFAULT false
);
CREATE INDEX deleted_contents_unswept ON khodnevis.deleted_contents (deleted_at) WHERE NOT swept;

CREATE TABLE khodnevis.usernames (canonical text COLLATE "C" PRIMARY KEY); -- of deleted users too

CREATE TABLE khodnevis.users (
	id            text COLLATE "C" PRIMARY KEY,
	username      text NOT NULL,
	canonical     text COLLATE "C" NOT NULL UNIQUE REFERENCES khodnevis.usernames,
	email         text NOT NULL,
	password_hash text NOT NULL,
	staff         boolean NOT NULL,
	disabled      boolean NOT NULL,
	version       bigint NOT NULL,
	joined_at     timestamptz NOT NULL,
	updated_at    timestamptz NOT NULL
);

CREATE TABLE khodnevis.sessions (
	id         text COLLATE "C" PRIMARY KEY,
	user_id    text COLLATE "C" NOT NULL REFERENCES khodnevis.users ON DELETE CASCADE,
	label      text NOT NULL,
	generation bigint NOT NULL,
	siblings   bigint NOT NULL,
	version    bigint NOT NULL,
	created_at timestamptz NOT NULL,
	rotated_at timestamptz NOT NULL,
	idle_at    timestamptz NOT NULL,
	expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON khodnevis.sessions (user_id, created_at, id);
CREATE INDEX sessions_end ON khodnevis.sessions (least(idle_at, expires_at));

CREATE TABLE khodnevis.tokens (
	hash       bytea PRIMARY KEY,
	session_id text COLLATE "C" NOT NULL REFERENCES khodnevis.sessions ON DELETE CASCADE,
	kind       text NOT NULL,
	generation bigint NOT NULL,
	expires_at timestamptz NOT NULL
);
CREATE INDEX tokens_session ON khodnevis.tokens (session_id);
CREATE INDEX tokens_access ON khodnevis.tokens (expires_at) WHERE kind = 'access';

CREATE TYPE khodnevis.rating_result AS ENUM ('created', 'updated', 'unchanged', 'withdrawn');

-- What changes with every write stands in no index, so that an update stays on its page (HOT). The previous score and bucket are
-- those before the last change, null if there was no rating then: the statement that changes a row learns from them what the
-- change was.
CREATE TABLE khodnevis.ratings (
	content_id  text COLLATE "C" NOT NULL,
	rater       text COLLATE "C" NOT NULL,
	epoch       bigint NOT NULL,
	position    bigint NOT NULL,
	created_at  timestamptz NOT NULL,
	updated_at  timestamptz NOT NULL,
	score       integer NOT NULL,
	bucket      integer NOT NULL,
	prev_score  integer,
	prev_bucket integer,
	result      khodnevis.rating_result NOT NULL,
	withdrawn   boolean NOT NULL,
	PRIMARY KEY (content_id, rater)
) WITH (fillfactor = 90);
CREATE INDEX ratings_rater ON khodnevis.ratings (rater, content_id);
CREATE INDEX ratings_withdrawn ON khodnevis.ratings (content_id, rater) WHERE withdrawn;

-- The numbers of a content. Its row is locked before anything else that is derived from its ratings is written. The histogram
-- is two arrays side by side, in any order; a score may occur twice, and count zero.
CREATE TABLE khodnevis.rating_stats (
	content_id  text COLLATE "C" PRIMARY KEY,
	n           bigint NOT NULL DEFAULT 0,
	sum         bigint NOT NULL DEFAULT 0,
	revision    bigint NOT NULL DEFAULT 0,
	as_of       timestamptz NOT NULL DEFAULT clock_timestamp(),
	open_n      bigint NOT NULL DEFAULT 0, -- the part of the latest bucket that is not in rating_buckets
	open_sum    bigint NOT NULL DEFAULT 0,
	left_n      bigint, -- what the last change moved from here to rating_buckets
	left_sum    bigint,
	open_bucket integer NOT NULL DEFAULT 0,
	left_bucket integer,
	dirty       boolean NOT NULL DEFAULT false, -- the buckets changed since the last fold
	scores      integer[] NOT NULL DEFAULT '{}',
	counts      bigint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 70);
CREATE INDEX rating_stats_dirty ON khodnevis.rating_stats (content_id) WHERE dirty;

CREATE TABLE khodnevis.rating_buckets (
	content_id text COLLATE "C" NOT NULL,
	bucket     integer NOT NULL,
	n          bigint NOT NULL,
	sum        bigint NOT NULL,
	PRIMARY KEY (content_id, bucket)
) WITH (fillfactor = 70);

-- Rows of one content and bucket are to be added up. No arm has a condition: it would keep a join from using the index.
CREATE VIEW khodnevis.bucket_parts AS
	SELECT content_id, bucket, n, sum FROM khodnevis.rating_buckets
	UNION ALL
	SELECT content_id, open_bucket, open_n, open_sum FROM khodnevis.rating_stats;

-- The published score, which only folding writes, so that the index of its order costs no write of a rating. Every content has
-- a row, and so has every content of a host that was rated.
CREATE TABLE khodnevis.rating_scores (
	content_id text COLLATE "C" PRIMARY KEY,
	value      double precision NOT NULL DEFAULT 0,
	weight     double precision NOT NULL DEFAULT 0,
	rank       double precision NOT NULL DEFAULT 0,
	folded     boolean NOT NULL DEFAULT false,
	folds      bigint NOT NULL DEFAULT 0,
	folded_at  timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE INDEX rating_scores_rank ON khodnevis.rating_scores (rank, content_id);

CREATE TABLE khodnevis.openings (
	content_id text COLLATE "C" PRIMARY KEY,
	opened_at  timestamptz NOT NULL
);

CREATE TABLE khodnevis.streams (
	stream text COLLATE "C" PRIMARY KEY,
	epoch  bigint NOT NULL UNIQUE
);

CREATE TABLE khodnevis.ticks (
	job      text COLLATE "C" PRIMARY KEY,
	at       timestamptz NOT NULL,
	until    timestamptz NOT NULL, -- end of the lease, by the clock of the database
	claimant text NOT NULL         -- names the call that claimed it
);

-- Messages are what anybody wrote into the log: their keys may be long, and no text at all.
CREATE TABLE khodnevis.rejected (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stream     text COLLATE "C" NOT NULL,
	position   bigint NOT NULL,
	key        bytea NOT NULL,
	body       bytea NOT NULL,
	reason     text NOT NULL,
	detail     bytea NOT NULL,
	at         timestamptz NOT NULL
);
CREATE UNIQUE INDEX rejected_message ON khodnevis.rejected (stream, position, sha256(key));
CREATE INDEX rejected_key ON khodnevis.rejected (sha256(key), id);
CREATE INDEX rejected_at ON khodnevis.rejected (at);
