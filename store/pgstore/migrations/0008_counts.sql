-- The history of a content starts with its first rating. The withdrawal of no rating is none.
INSERT INTO khodnevis.openings (content_id, opened_at)
	SELECT content_id, min(created_at) FROM khodnevis.ratings r
	WHERE (NOT withdrawn OR created_at <> updated_at)
		AND NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = r.content_id)
	GROUP BY content_id ON CONFLICT DO NOTHING;

-- The contents whose buckets do not count their ratings yet; rater is the last one whose rating was moved to its bucket.
CREATE TABLE khodnevis.rebuilds (
	content_id text COLLATE "C" PRIMARY KEY,
	rater      text COLLATE "C" NOT NULL DEFAULT ''
);
INSERT INTO khodnevis.rebuilds (content_id)
	SELECT content_id FROM (SELECT content_id FROM khodnevis.rating_stats UNION SELECT content_id FROM khodnevis.openings) r
	WHERE NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = r.content_id);

-- The published numbers, which are as they were until they are published again. The histogram is two arrays side by side.
ALTER TABLE khodnevis.rating_scores RENAME COLUMN folds TO revision;
ALTER TABLE khodnevis.rating_scores RENAME COLUMN folded_at TO as_of;
ALTER TABLE khodnevis.rating_scores
	ADD COLUMN sum bigint NOT NULL DEFAULT 0,
	ADD COLUMN scores integer[] NOT NULL DEFAULT '{}',
	ADD COLUMN counts bigint[] NOT NULL DEFAULT '{}';
INSERT INTO khodnevis.rating_scores (content_id) SELECT content_id FROM khodnevis.rating_stats WHERE revision > 0
	ON CONFLICT DO NOTHING;
UPDATE khodnevis.rating_scores f SET n = s.n, sum = s.sum, revision = s.revision + f.revision,
	as_of = greatest(s.as_of, f.as_of),
	(scores, counts) = (SELECT coalesce(array_agg(score), '{}'), coalesce(array_agg(n), '{}') FROM (
		SELECT score, sum(n)::bigint AS n FROM unnest(s.scores, s.counts) AS h (score, n)
		GROUP BY score HAVING sum(n) <> 0) h)
	FROM khodnevis.rating_stats s WHERE s.content_id = f.content_id AND s.revision > 0;

-- Buckets count the ratings of each score, in two arrays side by side. The latest bucket of a content is in rating_stats, whose
-- revision grows with each change.
DROP VIEW khodnevis.bucket_parts;
TRUNCATE khodnevis.rating_buckets;
ALTER TABLE khodnevis.rating_buckets
	DROP COLUMN n,
	DROP COLUMN sum,
	ADD COLUMN scores integer[] NOT NULL,
	ADD COLUMN counts bigint[] NOT NULL;
ALTER TABLE khodnevis.rating_stats
	DROP COLUMN n,
	DROP COLUMN sum,
	DROP COLUMN as_of,
	DROP COLUMN open_n,
	DROP COLUMN open_sum,
	DROP COLUMN left_n,
	DROP COLUMN left_sum,
	DROP COLUMN scores,
	DROP COLUMN counts,
	ADD COLUMN open_scores integer[] NOT NULL DEFAULT '{}',
	ADD COLUMN open_counts bigint[] NOT NULL DEFAULT '{}',
	ADD COLUMN left_scores integer[], -- what the last change moved from here to rating_buckets
	ADD COLUMN left_counts bigint[];

-- Rows of one content and bucket are to be added up. No arm has a condition: it would keep a join from using the index.
CREATE VIEW khodnevis.bucket_parts AS
	SELECT content_id, bucket, scores, counts FROM khodnevis.rating_buckets
	UNION ALL
	SELECT content_id, open_bucket, open_scores, open_counts FROM khodnevis.rating_stats;
