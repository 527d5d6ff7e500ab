-- Keys that differ in case alone
-- File systems that fold case hold only one of them.
SELECT lower(key) AS folded, count(*) AS keys, min(key) AS one, max(key) AS another FROM current
GROUP BY lower(key) HAVING count(*) > 1 ORDER BY keys DESC, folded LIMIT :limit
