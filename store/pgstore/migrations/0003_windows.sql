-- Parts of the history of a content that staff have ruled on.
CREATE TABLE khodnevis.rating_windows (
	content_id   text COLLATE "C" NOT NULL,
	id           text COLLATE "C" NOT NULL,
	ruling       text NOT NULL,
	from_at      timestamptz NOT NULL,
	until_at     timestamptz NOT NULL,
	first_bucket integer NOT NULL,
	last_bucket  integer NOT NULL,
	note         text NOT NULL,
	made_by      text NOT NULL,
	created_at   timestamptz NOT NULL,
	PRIMARY KEY (content_id, id)
);
