-- Keys with the most versions
-- Something rewrites these keys all day long.
SELECT key, count(*) AS versions, sum(size) AS bytes FROM objects GROUP BY key HAVING count(*) > 1 ORDER BY versions DESC LIMIT :limit
