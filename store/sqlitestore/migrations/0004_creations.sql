-- Which requests have made a content, so that they make no second one.
CREATE TABLE creations (
	author  TEXT    NOT NULL,
	key     BLOB    NOT NULL, -- SHA-256
	request BLOB    NOT NULL, -- SHA-256
	content TEXT    NOT NULL, -- may be deleted since
	at      INTEGER NOT NULL,
	PRIMARY KEY (author, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX creations_at ON creations (at);
