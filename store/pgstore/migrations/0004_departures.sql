CREATE TABLE khodnevis.departures (
	rater text COLLATE "C" PRIMARY KEY,
	fate  text NOT NULL,
	at    timestamptz NOT NULL
);
CREATE INDEX departures_at ON khodnevis.departures (at);
