-- Parts of the history of a content that staff have ruled on.
CREATE TABLE rating_windows (
	content      TEXT    NOT NULL,
	id           TEXT    NOT NULL,
	ruling       TEXT    NOT NULL, -- rating.Ruling
	from_at      INTEGER NOT NULL,
	until_at     INTEGER NOT NULL,
	first_bucket INTEGER NOT NULL,
	last_bucket  INTEGER NOT NULL,
	note         TEXT    NOT NULL,
	made_by      TEXT    NOT NULL,
	created_at   INTEGER NOT NULL,
	PRIMARY KEY (content, id)
) WITHOUT ROWID, STRICT;
