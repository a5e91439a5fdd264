-- Lists of ratings by time. A change of a score writes these indexes anew, which a new rating does anyway.
DROP INDEX khodnevis.ratings_rater;
CREATE INDEX ratings_rater ON khodnevis.ratings (rater, updated_at) WHERE NOT withdrawn;
CREATE INDEX ratings_updated ON khodnevis.ratings (updated_at) WHERE NOT withdrawn;

-- The number of ratings as of the last fold, which only folding writes: the number itself, unless the content is dirty. It is for
-- the order of lists.
ALTER TABLE khodnevis.rating_scores ADD COLUMN n bigint NOT NULL DEFAULT 0;
UPDATE khodnevis.rating_scores f SET n = s.n FROM khodnevis.rating_stats s WHERE s.content_id = f.content_id AND s.n <> 0;
CREATE INDEX rating_scores_n ON khodnevis.rating_scores (n, content_id);
