-- One row a topic. Offsets run from 0 and are never used again: "next" only grows, whatever is deleted.
CREATE TABLE queue_topics (
	topic  TEXT    NOT NULL PRIMARY KEY,
	stream TEXT    NOT NULL,            -- random, so that another file's offsets are never compared with these
	next   INTEGER NOT NULL DEFAULT 0,  -- offset of the next message to be published
	first  INTEGER NOT NULL DEFAULT 0,  -- offset of the oldest message that no consumer has finished
	owner  TEXT    NOT NULL DEFAULT '', -- of the lease to consume
	until  INTEGER NOT NULL DEFAULT 0   -- its end, in microseconds of Unix time
) WITHOUT ROWID, STRICT;

-- The messages from first to next, without gaps.
CREATE TABLE queue_messages (
	topic    TEXT    NOT NULL,
	"offset" INTEGER NOT NULL,
	key      TEXT    NOT NULL,
	body     BLOB    NOT NULL,
	header   TEXT,                      -- a JSON object of strings, or NULL
	PRIMARY KEY (topic, "offset")
) WITHOUT ROWID, STRICT;
