-- Buckets count the ratings of each score, and rating_stats has the published numbers, which belong to one moment; histogram is a
-- JSON object. The numbers of now stay published until a content is rebuilt.
ALTER TABLE rating_stats ADD COLUMN histogram TEXT NOT NULL DEFAULT '{}';
UPDATE rating_stats SET histogram = (SELECT json_group_object(b.score, b.n) FROM rating_bins b WHERE b.content = rating_stats.content)
	WHERE revision > 0;
DROP TABLE rating_bins;

DROP TABLE rating_buckets;
CREATE TABLE rating_buckets (
	content TEXT    NOT NULL,
	bucket  INTEGER NOT NULL,
	score   INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	PRIMARY KEY (content, bucket, score)
) WITHOUT ROWID, STRICT;

-- Every history starts with the first rating.
INSERT INTO openings (content, opened_at) SELECT content, min(created_at) FROM ratings
	WHERE result <> 'withdrawn' AND content NOT IN (SELECT content FROM clearing) GROUP BY content ON CONFLICT DO NOTHING;

-- Contents whose buckets are not those of their ratings yet. The ratings up to the rater have the right bucket.
CREATE TABLE rebuilds (content TEXT NOT NULL PRIMARY KEY, rater TEXT NOT NULL DEFAULT '') WITHOUT ROWID, STRICT;
INSERT INTO rebuilds (content) SELECT content FROM rating_stats WHERE revision > 0 OR n <> 0;
