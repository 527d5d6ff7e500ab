-- Current versions, old versions, delete markers
-- Old versions are paid for. Decide whether they move (--versions) or stay until they expire.
SELECT CASE WHEN marker THEN 'delete marker' WHEN latest THEN 'current' ELSE 'old version' END AS what,
       count(*) AS versions, count(DISTINCT key) AS keys, sum(size) AS bytes
FROM objects GROUP BY what ORDER BY versions DESC
