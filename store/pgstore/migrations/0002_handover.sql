-- When the rating that the last withdrawal took away was changed last, null without one; a rating that is handed over keeps it.
ALTER TABLE khodnevis.ratings ADD COLUMN prev_updated_at timestamptz;
