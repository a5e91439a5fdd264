-- Which requests have made a content, so that they make no second one. The content may be deleted since.
CREATE TABLE khodnevis.creations (
	author     text COLLATE "C" NOT NULL,
	key        bytea NOT NULL,
	request    bytea NOT NULL,
	content_id text COLLATE "C" NOT NULL,
	at         timestamptz NOT NULL,
	PRIMARY KEY (author, key)
);
CREATE INDEX creations_at ON khodnevis.creations (at);
